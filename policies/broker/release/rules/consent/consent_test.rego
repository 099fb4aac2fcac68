package broker.release.rules.consent_test

import data.broker.lib.examples_test as examples
import data.broker.release.rules.consent

test_a_permit_in_force if {
	consent.satisfied with input as examples.release({})
	count(consent.deny) == 0 with input as examples.release({})
}

test_silence_is_no_consent if {
	not consent.satisfied with input as examples.release({"/consent/base": "silent"})
	consent.deny == {"consent.missing"} with input as examples.release({"/consent/base": "silent"})
}

test_a_denial if {
	not consent.satisfied with input as examples.release({"/consent/base": "deny"})
	consent.deny == {"consent.denied"} with input as examples.release({"/consent/base": "deny"})
}

test_a_refusal_binds_whatever_the_basis if {
	every basis in ["consent", "contract", "vital_interests"] {
		changes := {"/request/lawful_basis": basis, "/consent/refused": true}
		not consent.satisfied with input as examples.release(changes)
		consent.deny == {"consent.refused"} with input as examples.release(changes)
	}
}

test_a_consent_that_was_not_understood_counts_as_a_refusal if {
	not consent.satisfied with input as examples.release({"/consent/unenforceable": true})
	consent.deny == {"consent.unenforceable"} with input as examples.release({"/consent/unenforceable": true})
}

test_within_the_hospital_the_contract_needs_no_consent if {
	inside := {"/request/lawful_basis": "contract", "/recipient/relationship": "internal", "/consent/base": "silent"}
	consent.satisfied with input as examples.release(inside)
	count(consent.deny) == 0 with input as examples.release(inside)
}

test_another_institution_needs_separate_consent if {
	outside := {"/request/lawful_basis": "contract", "/consent/base": "silent"}
	not consent.satisfied with input as examples.release(outside)
	consent.deny == {"consent.missing"} with input as examples.release(outside)
}

test_a_statutory_duty_overrides if {
	every base in ["permit", "deny", "silent"] {
		changes := {
			"/request/purpose": "PUBHLTH",
			"/request/lawful_basis": "statutory_duty",
			"/consent/base": base,
			"/consent/refused": true,
			"/consent/unenforceable": true,
		}
		consent.satisfied with input as examples.release(changes)
		count(consent.deny) == 0 with input as examples.release(changes)
	}
}

test_an_answer_holds_until_its_nearest_edge if {
	consent.satisfied with input as examples.release({"/consent/valid_until": examples.now})
	not consent.satisfied with input as examples.release({"/consent/valid_until": examples.now - 1})
	consent.deny == {"consent.out-of-date"} with input as examples.release({"/consent/valid_until": examples.now - 1})
}

test_nothing_says_nothing if {
	not consent.satisfied with input as {}
	count(consent.deny) == 0 with input as {}
}

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

test_what_is_implied_for_a_recipient_may_be_to_ask_first if {
	asked := {"/request/lawful_basis": "contract", "/recipient/relationship": "internal", "/consent/base": "silent"}
	every policy in ["all-normal", "basic-normal"] {
		consent.satisfied with input as examples.release(asked) with data.broker.implied_consent.organizations as {"shengli": policy}
		count(consent.deny) == 0 with input as examples.release(asked) with data.broker.implied_consent.organizations as {"shengli": policy}
	}
	every policy in ["break-glass-only", "deny"] {
		not consent.satisfied with input as examples.release(asked) with data.broker.implied_consent.organizations as {"shengli": policy}
		consent.deny == {"consent.opt-in"} with input as examples.release(asked)
			with data.broker.implied_consent.organizations as {"shengli": policy}
	}
}

test_the_id_goes_before_the_kind_and_the_kind_before_the_relationship if {
	asked := {"/request/lawful_basis": "contract", "/recipient/relationship": "internal", "/recipient/kind": "research", "/consent/base": "silent"}
	consent.deny == {"consent.opt-in"} with input as examples.release(asked)
	consent.satisfied with input as examples.release(asked) with data.broker.implied_consent.organizations as {"shengli": "all-normal"}
	not consent.satisfied with input as examples.release(asked) with data.broker.implied_consent.organizations as {"shengli": "no such policy"}
}

test_a_policy_that_carries_treatment_alone_carries_no_payment if {
	paying := {
		"/request/purpose": "HPAYMT", "/request/lawful_basis": "contract",
		"/recipient/relationship": "internal", "/consent/base": "silent",
	}
	consent.satisfied with input as examples.release(paying)
	consent.deny == {"consent.opt-in"} with input as examples.release(paying)
		with data.broker.implied_consent.organizations as {"shengli": "basic-normal"}
}

test_what_is_implied_never_stands_in_for_a_consent_that_the_law_wants if {
	every basis in ["consent", "contract"] {
		asked := {"/request/lawful_basis": basis, "/consent/base": "silent"}
		not consent.satisfied with input as examples.release(asked) with data.broker.implied_consent.organizations as {"shengli": "all-normal"}
		consent.deny == {"consent.missing"} with input as examples.release(asked)
			with data.broker.implied_consent.organizations as {"shengli": "all-normal"}
	}
}

test_an_explicit_consent_goes_before_what_is_implied if {
	permitted := {"/request/lawful_basis": "contract", "/recipient/relationship": "internal"}
	consent.satisfied with input as examples.release(permitted) with data.broker.implied_consent.organizations as {"shengli": "deny"}
	refused := {"/request/lawful_basis": "contract", "/recipient/relationship": "internal", "/consent/base": "deny", "/consent/refused": true}
	consent.deny == {"consent.denied", "consent.refused"} with input as examples.release(refused)
		with data.broker.implied_consent.organizations as {"shengli": "all-normal"}
}

test_an_emergency_outside_needs_no_consent_unless_it_is_to_be_asked_for if {
	silent := {"/consent/base": "silent"}
	consent.satisfied with input as examples.emergency(silent)
	consent.deny == {"consent.opt-in"} with input as examples.emergency(silent)
		with data.broker.implied_consent.organizations as {"shengli": "deny"}
}

test_a_law_that_overrides_a_refusal_does_not_ask_what_is_implied if {
	duty := {"/request/purpose": "PUBHLTH", "/request/lawful_basis": "statutory_duty", "/consent/base": "silent"}
	consent.satisfied with input as examples.release(duty) with data.broker.implied_consent.organizations as {"shengli": "deny"}
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

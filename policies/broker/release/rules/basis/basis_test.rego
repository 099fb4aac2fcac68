package broker.release.rules.basis_test

import data.broker.lib.examples_test as examples
import data.broker.release.rules.basis

test_consent_carries_treatment if {
	basis.satisfied with input as examples.release({})
	count(basis.deny) == 0 with input as examples.release({})
}

test_research_stands_on_consent_alone if {
	every other in ["contract", "statutory_duty", "vital_interests", "public_health_emergency"] {
		changes := {"/request/purpose": "HRESCH", "/request/lawful_basis": other}
		not basis.satisfied with input as examples.assess(changes)
		basis.deny == {"basis.not-for-purpose"} with input as examples.assess(changes)
	}
}

test_life_and_health_carry_emergencies_alone if {
	basis.satisfied with input as examples.emergency({})
	basis.deny == {"basis.not-for-purpose"} with input as examples.release({"/request/lawful_basis": "vital_interests"})
}

test_an_unknown_basis if {
	not basis.satisfied with input as examples.release({"/request/lawful_basis": "habit"})
	basis.deny == {"basis.unknown"} with input as examples.release({"/request/lawful_basis": "habit"})
}

test_nothing_says_nothing if {
	not basis.satisfied with input as {}
	count(basis.deny) == 0 with input as {}
}

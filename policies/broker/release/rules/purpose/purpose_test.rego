package broker.release.rules.purpose_test

import data.broker.lib.examples_test as examples
import data.broker.release.rules.purpose

test_treatment_by_a_referral_hospital if {
	purpose.satisfied with input as examples.release({})
	purpose.satisfied with input as examples.assess({})
	count(purpose.deny) == 0 with input as examples.release({})
}

test_a_narrower_purpose_is_judged_as_its_wider_one if {
	purpose.satisfied with input as examples.release({"/request/purpose": "COC", "/caller/token_purpose": "COC"})
}

test_an_unknown_purpose if {
	not purpose.satisfied with input as examples.assess({"/request/purpose": "CURIOSITY"})
	purpose.deny == {"purpose.unknown"} with input as examples.assess({"/request/purpose": "CURIOSITY"})
}

test_marketing_is_never_shared_for if {
	not purpose.satisfied with input as examples.assess({"/request/purpose": "HMARKT"})
	purpose.deny == {"purpose.not-shared"} with input as examples.assess({"/request/purpose": "HMARKT"})
}

test_an_insurer_does_not_treat if {
	not purpose.satisfied with input as examples.assess({"/recipient/kind": "insurer"})
	purpose.deny == {"purpose.not-for-recipient"} with input as examples.assess({"/recipient/kind": "insurer"})
}

test_the_finance_department_of_another_institution_gets_nothing if {
	changes := {"/request/purpose": "HPAYMT", "/recipient/kind": "finance"}
	purpose.deny == {"purpose.not-for-recipient"} with input as examples.assess(changes)
	purpose.satisfied with input as examples.assess(object.union(changes, {"/recipient/relationship": "internal"}))
}

test_a_token_for_another_purpose if {
	not purpose.satisfied with input as examples.release({"/caller/token_purpose": "HRESCH"})
	purpose.deny == {"purpose.other-token"} with input as examples.release({"/caller/token_purpose": "HRESCH"})
}

test_an_emergency_purpose_needs_a_declared_emergency if {
	changes := {"/request/emergency": false}
	not purpose.satisfied with input as examples.emergency(changes)
	purpose.deny == {"purpose.emergency-not-declared"} with input as examples.emergency(changes)
	purpose.satisfied with input as examples.emergency({})
}

test_nothing_says_nothing if {
	not purpose.satisfied with input as {}
	not purpose.satisfied with input as {"facts": {}}
	count(purpose.deny) == 0 with input as {}
}

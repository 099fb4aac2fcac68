package broker.release.rules.workforce_test

import data.broker.lib.examples_test as examples
import data.broker.release.rules.workforce

register := {"required": [], "held": [], "expired": [], "valid_until": null}

# A release under a profile that requires a licence and a training, with what the registers say.
asked(says) := examples.release({"/request/purpose": "COC", "/caller/token_purpose": "COC", "/workforce": says})

qualified := object.union(register, {"held": ["scope.practice", "licence.practice", "licence.telemedicine", "training.data-sharing"]})

test_a_profile_that_requires_nothing_asks_no_register if {
	workforce.satisfied with input as examples.release({})
	count(workforce.deny) == 0 with input as examples.release({})
}

test_everything_required_is_held if {
	workforce.satisfied with input as asked(qualified)
	count(workforce.deny) == 0 with input as asked(qualified)
}

test_no_register_was_asked if {
	not workforce.satisfied with input as asked(null)
	workforce.deny == {"workforce.unknown"} with input as asked(null)
}

test_nothing_is_held if {
	not workforce.satisfied with input as asked(register)
	workforce.deny == {"workforce.missing"} with input as asked(register)
}

test_a_training_has_expired if {
	lapsed := object.union(qualified, {"held": ["scope.practice", "licence.practice", "licence.telemedicine"], "expired": ["training.data-sharing"]})
	not workforce.satisfied with input as asked(lapsed)
	workforce.deny == {"workforce.expired"} with input as asked(lapsed)
}

test_a_register_that_says_both_is_believed_the_worse if {
	both := object.union(qualified, {"expired": ["licence.practice"]})
	not workforce.satisfied with input as asked(both)
	workforce.deny == {"workforce.expired"} with input as asked(both)
}

test_what_the_registers_demand_comes_on_top if {
	demanding := object.union(register, {"required": ["training.data-sharing"]})
	not workforce.satisfied with input as examples.release({"/workforce": demanding})
	workforce.deny == {"workforce.missing"} with input as examples.release({"/workforce": demanding})
	given := object.union(demanding, {"held": ["training.data-sharing"]})
	workforce.satisfied with input as examples.release({"/workforce": given})
}

test_nothing_says_nothing if {
	not workforce.satisfied with input as {}
	count(workforce.deny) == 0 with input as {}
}

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

# A ward asks for what nursing needs, with what the registers say.
ward(says) := examples.release({
	"/recipient/kind": "nursing",
	"/recipient/relationship": "internal",
	"/workforce": object.union(register, says),
})

test_of_a_line_one_is_enough if {
	workforce.satisfied with input as ward({"held": ["licence.nursing"]})
	workforce.satisfied with input as ward({"held": ["licence.practice"]})
	workforce.satisfied with input as ward({"held": ["licence.practice"], "expired": ["licence.nursing"]})
	count(workforce.deny) == 0 with input as ward({"held": ["licence.practice"], "expired": ["licence.nursing"]})
}

test_none_of_a_line if {
	not workforce.satisfied with input as ward({"held": ["licence.pharmacy"]})
	workforce.deny == {"workforce.missing"} with input as ward({"held": ["licence.pharmacy"]})
	not workforce.satisfied with input as ward({"expired": ["licence.nursing"]})
	workforce.deny == {"workforce.expired"} with input as ward({"expired": ["licence.nursing"]})
}

test_a_line_met_and_a_demand_unmet if {
	says := {"held": ["licence.nursing"], "required": ["training.privacy"]}
	not workforce.satisfied with input as ward(says)
	workforce.deny == {"workforce.missing"} with input as ward(says)
}

test_nothing_says_nothing if {
	not workforce.satisfied with input as {}
	count(workforce.deny) == 0 with input as {}
}

package broker.release.rules.necessity_test

import data.broker.lib.examples_test as examples
import data.broker.release.rules.necessity

test_something_is_left if {
	necessity.satisfied with input as examples.release({})
	count(necessity.deny) == 0 with input as examples.release({})
}

test_nothing_was_asked if {
	not necessity.satisfied with input as examples.release({"/request/data": []})
	necessity.deny == {"necessity.nothing-asked"} with input as examples.release({"/request/data": []})
}

test_an_unknown_class_denies_even_beside_known_ones if {
	data_asked := [{"data_class": "clinical.laboratory"}, {"data_class": "clinical.gossip"}]
	not necessity.satisfied with input as examples.release({"/request/data": data_asked})
	necessity.deny == {"necessity.unknown-class"} with input as examples.release({"/request/data": data_asked})
}

test_treatment_needs_no_claims if {
	changes := {"/request/data": [{"data_class": "financial.claims"}]}
	not necessity.satisfied with input as examples.release(changes)
	necessity.deny == {"necessity.nothing-left"} with input as examples.release(changes)
}

test_a_call_for_a_type_that_was_not_approved if {
	necessity.deny == {"necessity.nothing-left"} with input as examples.release({"/wanted_types": ["Procedure"]})
}

test_kept_too_long if {
	necessity.satisfied with input as examples.release({"/request/retention_days": 365})
	necessity.satisfied with input as examples.release({"/request/retention_days": null})
	not necessity.satisfied with input as examples.release({"/request/retention_days": 366})
	necessity.deny == {"necessity.retention"} with input as examples.release({"/request/retention_days": 366})
}

test_another_channel if {
	not necessity.satisfied with input as examples.release({"/request/channel": "fax"})
	necessity.deny == {"necessity.channel"} with input as examples.release({"/request/channel": "fax"})
}

test_nothing_says_nothing if {
	not necessity.satisfied with input as {}
	count(necessity.deny) == 0 with input as {}
}

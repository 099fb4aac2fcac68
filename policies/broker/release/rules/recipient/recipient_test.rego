package broker.release.rules.recipient_test

import data.broker.lib.examples_test as examples
import data.broker.release.rules.recipient

test_another_institution_under_an_agreement if {
	recipient.satisfied with input as examples.release({})
	recipient.satisfied with input as examples.assess({})
	count(recipient.deny) == 0 with input as examples.release({})
}

test_a_department_needs_neither_agreement_nor_key if {
	inside := {"/recipient/relationship": "internal", "/recipient/agreement_until": null, "/recipient/key_registered": false}
	recipient.satisfied with input as examples.release(inside)
	count(recipient.deny) == 0 with input as examples.release(inside)
}

test_a_suspended_recipient if {
	not recipient.satisfied with input as examples.release({"/recipient/status": "suspended"})
	recipient.deny == {"recipient.suspended"} with input as examples.release({"/recipient/status": "suspended"})
}

test_no_agreement if {
	not recipient.satisfied with input as examples.release({"/recipient/agreement_until": null})
	recipient.deny == {"recipient.no-agreement"} with input as examples.release({"/recipient/agreement_until": null})
}

test_an_agreement_that_is_over if {
	recipient.satisfied with input as examples.release({"/recipient/agreement_until": examples.now})
	over := {"/recipient/agreement_until": examples.now - 1}
	not recipient.satisfied with input as examples.release(over)
	recipient.deny == {"recipient.agreement-over"} with input as examples.release(over)
}

test_a_key_is_needed_to_release_and_not_to_assess if {
	not recipient.satisfied with input as examples.release({"/recipient/key_registered": false})
	recipient.deny == {"recipient.no-key"} with input as examples.release({"/recipient/key_registered": false})
	recipient.satisfied with input as examples.assess({"/recipient/key_registered": false})
}

test_another_caller if {
	not recipient.satisfied with input as examples.release({"/caller/organization": "renhe"})
	recipient.deny == {"recipient.other-caller"} with input as examples.release({"/caller/organization": "renhe"})
}

test_a_requester_who_left if {
	not recipient.satisfied with input as examples.release({"/requester/active": false})
	recipient.deny == {"recipient.requester-inactive"} with input as examples.release({"/requester/active": false})
}

test_nothing_says_nothing if {
	not recipient.satisfied with input as {}
	count(recipient.deny) == 0 with input as {}
}

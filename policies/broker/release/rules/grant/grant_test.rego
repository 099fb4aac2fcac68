package broker.release.rules.grant_test

import data.broker.lib.examples_test as examples
import data.broker.release.rules.grant

test_a_live_approved_grant_says_yes if {
	grant.satisfied with input as examples.release({})
	count(grant.deny) == 0 with input as examples.release({})
}

test_a_proposal_may_be_assessed_and_not_released if {
	grant.satisfied with input as examples.assess({})
	not grant.satisfied with input as examples.release({"/grant/status": "proposed"})
	grant.deny == {"grant.not-approved"} with input as examples.release({"/grant/status": "proposed"})
}

test_nobody_approved_it if {
	not grant.satisfied with input as examples.release({"/grant/approved_by": 0})
	grant.deny == {"grant.not-approved"} with input as examples.release({"/grant/approved_by": 0})
}

test_each_ended_state_is_told if {
	every status in ["suspended", "revoked", "closed", "expired"] {
		not grant.satisfied with input as examples.release({"/grant/status": status})
		grant.deny == {concat("", ["grant.", status])} with input as examples.release({"/grant/status": status})
		not grant.satisfied with input as examples.assess({"/grant/status": status})
	}
}

test_the_last_second_is_part_of_the_term if {
	grant.satisfied with input as examples.release({"/grant/valid_until": examples.now})
	not grant.satisfied with input as examples.release({"/grant/valid_until": examples.now - 1})
	grant.deny == {"grant.expired"} with input as examples.release({"/grant/valid_until": examples.now - 1})
}

test_the_first_second_is_part_of_the_term if {
	grant.satisfied with input as examples.release({"/grant/valid_from": examples.now})
	not grant.satisfied with input as examples.release({"/grant/valid_from": examples.now + 1})
	grant.deny == {"grant.not-yet"} with input as examples.release({"/grant/valid_from": examples.now + 1})
}

test_an_assessment_may_look_at_a_term_that_has_not_begun if {
	grant.satisfied with input as examples.assess({"/grant/valid_from": examples.now + 1})
}

test_the_agreed_number_of_releases if {
	grant.satisfied with input as examples.release({"/grant/releases_limit": 3, "/grant/releases_used": 2})
	not grant.satisfied with input as examples.release({"/grant/releases_limit": 3, "/grant/releases_used": 3})
	grant.deny == {"grant.used-up"} with input as examples.release({"/grant/releases_limit": 3, "/grant/releases_used": 3})
}

test_another_patient if {
	not grant.satisfied with input as examples.release({"/patient/in_grant": false})
	grant.deny == {"grant.other-patient"} with input as examples.release({"/patient/in_grant": false})
}

test_an_uncertain_patient if {
	every match in ["probable", "possible", "none"] {
		not grant.satisfied with input as examples.release({"/patient/match": match})
		grant.deny == {"grant.patient-uncertain"} with input as examples.release({"/patient/match": match})
		grant.deny == {"grant.patient-uncertain"} with input as examples.assess({"/patient/match": match})
	}
}

test_a_suspended_caller if {
	not grant.satisfied with input as examples.release({"/caller/status": "suspended"})
	grant.deny == {"grant.caller-suspended"} with input as examples.release({"/caller/status": "suspended"})
}

test_a_token_of_another_grant if {
	not grant.satisfied with input as examples.release({"/caller/token_grant": "grant-2"})
	grant.deny == {"grant.other-token"} with input as examples.release({"/caller/token_grant": "grant-2"})
}

test_a_release_without_a_caller_is_not_satisfied if {
	not grant.satisfied with input as examples.release({"/caller": null})
}

test_nothing_says_nothing if {
	not grant.satisfied with input as {}
	count(grant.deny) == 0 with input as {}
}

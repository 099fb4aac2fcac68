package broker.release.rules.emergency_test

import data.broker.lib.examples_test as examples
import data.broker.release.rules.emergency

test_a_declared_emergency if {
	emergency.satisfied with input as examples.emergency({})
	count(emergency.deny) == 0 with input as examples.emergency({})
}

test_it_may_be_assessed if {
	changes := {"/question": "assess", "/caller": null, "/grant/status": "proposed"}
	emergency.satisfied with input as examples.emergency(changes)
	count(emergency.deny) == 0 with input as examples.emergency(changes)
}

test_it_lifts_the_approval_alone if {
	every status in ["proposed", "suspended", "revoked", "expired", "closed"] {
		not emergency.satisfied with input as examples.emergency({"/grant/status": status})
		emergency.deny == {"emergency.not-live"} with input as examples.emergency({"/grant/status": status})
	}
	emergency.deny == {"emergency.not-live"} with input as examples.emergency({"/caller/token_grant": "grant-2"})
	emergency.deny == {"emergency.not-live"} with input as examples.emergency({"/patient/in_grant": false})
}

test_an_ordinary_purpose if {
	changes := {"/request/purpose": "TREAT", "/caller/token_purpose": "TREAT"}
	not emergency.satisfied with input as examples.emergency(changes)
	emergency.deny == {"emergency.other-purpose"} with input as examples.emergency(changes)
}

test_it_must_be_urgent if {
	not emergency.satisfied with input as examples.emergency({"/request/urgency": "urgent"})
	emergency.deny == {"emergency.not-urgent"} with input as examples.emergency({"/request/urgency": "urgent"})
}

test_it_must_be_justified if {
	not emergency.satisfied with input as examples.emergency({"/request/justification": false})
	emergency.deny == {"emergency.no-justification"} with input as examples.emergency({"/request/justification": false})
}

test_it_must_be_short if {
	emergency.satisfied with input as examples.emergency({"/grant/valid_until": (examples.now - 60) + 14400})
	long := {"/grant/valid_until": (examples.now - 60) + 14401}
	not emergency.satisfied with input as examples.emergency(long)
	emergency.deny == {"emergency.too-long"} with input as examples.emergency(long)
}

test_the_patient_must_be_certain if {
	not emergency.satisfied with input as examples.emergency({"/patient/match": "probable"})
	emergency.deny == {"emergency.not-live", "emergency.patient-uncertain"} with input as examples.emergency({"/patient/match": "probable"})
}

test_nothing_says_nothing if {
	not emergency.satisfied with input as {}
	not "emergency.other-purpose" in emergency.deny with input as {}
}

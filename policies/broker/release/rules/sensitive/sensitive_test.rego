package broker.release.rules.sensitive_test

import data.broker.lib.examples_test as examples
import data.broker.release.rules.sensitive

psychiatry := [{"data_class": "clinical.diagnoses"}, {"data_class": "sensitive.mental-health"}]

test_nothing_sensitive_is_asked if {
	sensitive.satisfied with input as examples.release({})
	count(sensitive.deny) == 0 with input as examples.release({})
}

test_a_sensitive_class_with_consent if {
	sensitive.satisfied with input as examples.release({"/request/data": psychiatry})
	count(sensitive.deny) == 0 with input as examples.release({"/request/data": psychiatry})
}

test_a_sensitive_class_without_consent if {
	every base in ["silent", "deny"] {
		changes := {"/request/data": psychiatry, "/request/lawful_basis": "contract", "/consent/base": base}
		not sensitive.satisfied with input as examples.release(changes)
		sensitive.deny == {"sensitive.consent-required"} with input as examples.release(changes)
	}
}

test_a_duty_to_report_is_a_ground if {
	changes := {
		"/request/purpose": "PUBHLTH",
		"/request/lawful_basis": "statutory_duty",
		"/recipient/kind": "authority",
		"/request/data": [{"data_class": "clinical.diagnoses"}, {"data_class": "sensitive.hiv"}],
		"/consent/base": "silent",
	}
	sensitive.satisfied with input as examples.release(changes)
	count(sensitive.deny) == 0 with input as examples.release(changes)
}

test_a_pharmacy_does_not_need_it if {
	changes := {"/request/data": psychiatry, "/recipient/kind": "pharmacy"}
	not sensitive.satisfied with input as examples.release(changes)
	sensitive.deny == {"sensitive.not-necessary"} with input as examples.release(changes)
}

test_nothing_says_nothing if {
	not sensitive.satisfied with input as {}
	count(sensitive.deny) == 0 with input as {}
}

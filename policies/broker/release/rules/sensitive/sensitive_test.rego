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

hiv(changes) := examples.release(object.union({"/request/data": [{"data_class": "clinical.diagnoses"}, {"data_class": "sensitive.hiv"}]}, changes))

test_the_stricter_rules_of_a_category if {
	sensitive.satisfied with input as hiv({})
	few := {"/grant/approved_by": 1}
	not sensitive.satisfied with input as hiv(few)
	sensitive.deny == {"sensitive.approvals"} with input as hiv(few)
	long := {"/request/retention_days": 367}
	not sensitive.satisfied with input as hiv(long)
	sensitive.deny == {"sensitive.retention"} with input as hiv(long)
	sensitive.satisfied with input as hiv({"/request/retention_days": 366})
	sensitive.satisfied with input as hiv({"/request/retention_days": null})
	bulk := {"/request/channel": "bulk"}
	not sensitive.satisfied with input as hiv(bulk)
	sensitive.deny == {"sensitive.channel"} with input as hiv(bulk)
}

test_a_category_is_for_certain_purposes_and_recipients if {
	wide := object.union(data.broker.profiles["treatment-pharmacy"], {"may_lift": ["sensitive.hiv"]})
	not sensitive.satisfied with input as hiv({"/recipient/kind": "pharmacy"}) with data.broker.profiles as {"treatment-pharmacy": wide}
	sensitive.deny == {"sensitive.recipient"} with input as hiv({"/recipient/kind": "pharmacy"}) with data.broker.profiles as {"treatment-pharmacy": wide}
	paying := {"/recipient/kind": "insurer", "/request/purpose": "HPAYMT"}
	insured := object.union(data.broker.profiles["payment-insurer"], {"may_lift": ["sensitive.hiv"]})
	sensitive.deny == {"sensitive.purpose", "sensitive.recipient"} with input as hiv(paying) with data.broker.profiles as {"payment-insurer": insured}
}

test_an_assessment_does_not_wait_for_approvals if {
	facts := examples.assess({"/request/data": [{"data_class": "clinical.diagnoses"}, {"data_class": "sensitive.hiv"}]})
	sensitive.satisfied with input as facts
	count(sensitive.deny) == 0 with input as facts
}

test_nothing_says_nothing if {
	not sensitive.satisfied with input as {}
	count(sensitive.deny) == 0 with input as {}
}

package broker.release.cuts_test

import data.broker.lib.examples_test as examples
import data.broker.release.cuts

reasons := {sprintf("%s %s %s", [cut.reason, cut.type, cut.item]) | some cut in cuts.report.cut}

asking(entries) := {"/request/data": entries, "/request/period_from": examples.now - 100}

test_what_was_asked_and_what_is_left if {
	report := cuts.report with input as examples.assess(asking([{"data_class": "financial.claims"}, {"data_class": "clinical.diagnoses"}]))
	report.asked == ["Claim", "Condition"]
	report.left == ["Condition"]
	report.profile == "treatment-referral"
}

test_each_kind_of_cut if {
	found := reasons with input as examples.assess(asking([
		{"data_class": "financial.claims"},
		{"resource_type": "Patient", "elements": ["telecom"]},
		{"resource_type": "Observation", "elements": ["value", "note"]},
	]))
	{"cut.type Claim ", "cut.selection Patient ", "cut.element Observation note", "cut.label  HIV"} - found == set()
}

test_codes_and_categories if {
	found := reasons with input as examples.assess(object.union(
		asking([{"data_class": "clinical.laboratory"}, {"data_class": "clinical.vital-signs"}]),
		{"/recipient/kind": "laboratory"},
	))
	"cut.code Observation http://terminology.hl7.org/CodeSystem/observation-category|vital-signs" in found
}

test_the_look_back if {
	found := reasons with input as examples.assess({})
	"cut.period Observation " in found
	not "cut.period Condition " in found
}

test_a_lifted_category_is_not_cut if {
	found := reasons with input as examples.assess(asking([{"data_class": "clinical.diagnoses"}, {"data_class": "sensitive.hiv"}]))
	not "cut.label  HIV" in found
	"cut.label  PSY" in found
}

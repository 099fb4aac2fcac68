package broker.release.plan_test

import data.broker.lib.examples_test as examples
import data.broker.release.plan

asking(entries) := {"/request/data": entries}

elements(type) := {element | some element in split(plan.types[type].elements, " ")}

test_a_class_brings_what_the_profile_has if {
	json.unmarshal(plan.types.Condition) == data.broker.profiles["treatment-referral"].types.Condition with input as examples.release({})
}

test_a_class_may_bring_a_part_by_category if {
	categories := plan.types.Observation.categories with input as examples.release({})
	categories == ["http://terminology.hl7.org/CodeSystem/observation-category|laboratory"]
}

test_classes_are_taken_together if {
	both := asking([{"data_class": "clinical.laboratory"}, {"data_class": "clinical.vital-signs"}])
	categories := plan.types.Observation.categories with input as examples.release(both)
	count(categories) == 2
}

test_a_whole_type_swallows_its_parts if {
	all := asking([{"data_class": "clinical.laboratory"}, {"data_class": "clinical"}])
	json.unmarshal(plan.types.Observation).categories == [] with input as examples.release(all)
}

test_the_profiles_categories_bind if {
	laboratory := {"/recipient/kind": "laboratory"}
	changes := object.union(laboratory, asking([{"data_class": "clinical.vital-signs"}]))
	not plan.types.Observation with input as examples.release(changes)
	whole := object.union(laboratory, asking([{"resource_type": "Observation"}]))
	count(plan.types.Observation.categories) == 1 with input as examples.release(whole)
	part := object.union(laboratory, asking([{"data_class": "clinical.laboratory"}, {"data_class": "clinical.vital-signs"}]))
	count(plan.types.Observation.categories) == 1 with input as examples.release(part)
}

test_a_class_may_bring_a_part_by_element if {
	changes := object.union(asking([{"data_class": "clinical.contact"}]), {"/request/purpose": "PUBHLTH", "/recipient/kind": "authority"})
	elements("Patient") == {"address", "id", "telecom"} with input as examples.release(changes)
	not plan.types.Patient with input as examples.release(asking([{"data_class": "clinical.contact"}]))
}

test_a_named_type_says_exactly_what_is_wanted if {
	changes := asking([
		{"data_class": "clinical.laboratory"},
		{"resource_type": "Observation", "elements": ["effective", "value"], "codes": ["http://loinc.org|2339-0"]},
	])
	elements("Observation") == {"code", "effective", "id", "status", "subject", "value"} with input as examples.release(changes)
	plan.types.Observation.codes == ["http://loinc.org|2339-0"] with input as examples.release(changes)
	plan.types.Observation.categories == [] with input as examples.release(changes)
	plan.types.DiagnosticReport with input as examples.release(changes)
}

test_entries_of_one_type_are_taken_together if {
	changes := asking([
		{"resource_type": "Observation", "elements": ["value"], "codes": ["a|1"]},
		{"resource_type": "Observation", "elements": ["issued"], "codes": ["a|2"]},
	])
	{"issued", "value"} - elements("Observation") == set() with input as examples.release(changes)
	plan.types.Observation.codes == ["a|1", "a|2"] with input as examples.release(changes)
	open := asking([{"resource_type": "Observation", "codes": ["a|1"]}, {"resource_type": "Observation"}])
	plan.types.Observation.codes == [] with input as examples.release(open)
}

test_elements_above_and_below if {
	above := asking([{"resource_type": "Observation", "elements": ["component"]}])
	{"component.code", "component.value"} - elements("Observation") == set() with input as examples.release(above)
	below := asking([{"resource_type": "Observation", "elements": ["code.coding"]}])
	"code.coding" in elements("Observation") with input as examples.release(below)
}

test_an_element_that_is_not_necessary_is_left_out if {
	changes := asking([{"resource_type": "Patient", "elements": ["telecom", "gender"]}])
	elements("Patient") == {"gender", "id"} with input as examples.release(changes)
	not plan.types.Patient with input as examples.release(asking([{"resource_type": "Patient", "elements": ["telecom"]}]))
}

test_a_space_smuggles_nothing_in if {
	changes := asking([{"resource_type": "Patient", "elements": ["name.given telecom", "gender"]}])
	elements("Patient") == {"gender", "id"} with input as examples.release(changes)
}

test_codes_that_the_profile_names_bind if {
	profiled := {"broker": {"profiles": {"treatment-referral": {"types": {"Observation": {"codes": ["a|1"]}}}}}}
	both := object.union(data.broker.profiles["treatment-referral"], profiled.broker.profiles["treatment-referral"])
	inside := asking([{"resource_type": "Observation", "codes": ["a|1", "a|2"]}])
	plan.types.Observation.codes == ["a|1"] with input as examples.release(inside) with data.broker.profiles as {"treatment-referral": both}
	outside := asking([{"resource_type": "Observation", "codes": ["a|2"]}])
	not plan.types.Observation with input as examples.release(outside) with data.broker.profiles as {"treatment-referral": both}
}

test_the_call_and_its_scopes_narrow if {
	object.keys(plan.types) == {"Condition"} with input as examples.release({"/wanted_types": ["Condition", "Claim"]})
	object.keys(plan.types) == {"Specimen"} with input as examples.release({"/caller/types": ["Specimen"]})
	object.keys(plan.types) == set() with input as examples.release({"/caller/types": []})
}

test_look_backs_are_whole_days if {
	today := examples.now - (examples.now % 86400)
	windows := plan.windows with input as examples.release({})
	windows == {"standing": null, "recent": today - (3653 * 86400), "latest": today - (3653 * 86400), "end": null}
}

test_the_asked_period_binds_where_it_is_narrower if {
	windows := plan.windows with input as examples.release({"/request/period_from": examples.now - 9, "/request/period_until": examples.now})
	windows == {"standing": examples.now - 9, "recent": examples.now - 9, "latest": examples.now - 9, "end": examples.now}
	wide := plan.windows with input as examples.release({"/request/period_from": 0})
	wide.standing == 0
	wide.recent > 0
}

test_a_period_before_the_look_back_leaves_standing_types_alone if {
	changes := {"/request/period_from": 0, "/request/period_until": 1000}
	object.keys(plan.types) == {"Condition"} with input as examples.release(changes)
}

test_sensitive_labels_are_denied_unless_lifted if {
	plan.denied_labels == data.broker.sensitive.deny with input as examples.release({})
	plan.ceiling == "N" with input as examples.release({})
	lifting := asking([{"data_class": "clinical.diagnoses"}, {"data_class": "sensitive.mental-health"}])
	labels := plan.denied_labels with input as examples.release(lifting)
	{label | some label in data.broker.sensitive.deny} - {label | some label in labels} == {"BH", "MH", "PSY", "PSYTHPN"}
	plan.ceiling == "R" with input as examples.release(lifting)
}

test_a_plan_lifts_nothing_without_grounds if {
	changes := {"/request/data": [{"data_class": "sensitive.hiv"}], "/consent/base": "silent"}
	plan.denied_labels == data.broker.sensitive.deny with input as examples.release(changes)
}

test_a_basis_that_needs_consent_lets_go_only_what_one_permits if {
	plan.consent == "required" with input as examples.release({})
	plan.consent == "required" with input as examples.release({"/request/lawful_basis": "contract"})
	plan.consent == "required" with input as examples.release({"/recipient/relationship": "internal"})
}

test_a_basis_that_needs_none_lets_go_what_nobody_refused if {
	inside := {"/request/lawful_basis": "contract", "/recipient/relationship": "internal"}
	plan.consent == "unless-refused" with input as examples.release(inside)
	plan.consent == "unless-refused" with input as examples.emergency({})
}

test_where_the_recipient_is_to_ask_first_silence_withholds_each_resource if {
	inside := {"/request/lawful_basis": "contract", "/recipient/relationship": "internal"}
	plan.consent == "required" with input as examples.release(inside) with data.broker.implied_consent.organizations as {"shengli": "deny"}
	plan.consent == "required" with input as examples.emergency({}) with data.broker.implied_consent.organizations as {"shengli": "deny"}
}

test_a_law_that_overrides_a_refusal_overrides_it_for_each_resource if {
	duty := {"/request/purpose": "PUBHLTH", "/request/lawful_basis": "statutory_duty"}
	plan.consent == "overridden" with input as examples.release(duty)
	plan.consent == "overridden" with input as examples.release(duty) with data.broker.implied_consent.organizations as {"shengli": "deny"}
}

test_deletion_is_always_an_obligation if {
	{"code": "DELAU", "days": 30} in plan.obligations with input as examples.release({})
	{"code": "DELAU", "days": 365} in plan.obligations with input as examples.release({"/request/retention_days": null})
}

test_the_lower_number_of_releases_holds if {
	plan.releases == null with input as examples.release({})
	plan.releases == 5 with input as examples.release({"/grant/releases_limit": 5})
	plan.releases == 20 with input as examples.emergency({})
	plan.releases == 5 with input as examples.emergency({"/grant/releases_limit": 5})
	plan.releases == 20 with input as examples.emergency({"/grant/releases_limit": 50})
}

test_what_is_lifted_is_kept_the_shortest_time if {
	lifting := {
		"/request/data": [{"data_class": "sensitive.hiv"}, {"data_class": "sensitive.mental-health"}, {"data_class": "sensitive.substance-use"}],
		"/request/retention_days": null,
	}
	plan.retention_days == 183 with input as examples.release(lifting)
	plan.retention_days == 365 with input as examples.release({"/request/retention_days": null})
	plan.retention_days == 365 with input as examples.release({"/request/retention_days": null, "/request/data": [{"data_class": "sensitive.hiv"}]})
}

test_entries_of_two_types_do_not_mix if {
	given := examples.release({"/request/data": [
		{"resource_type": "Observation", "elements": ["value"], "codes": ["http://loinc.org|2339-0"]},
		{"resource_type": "Condition", "elements": ["severity"], "codes": ["http://snomed.info/sct|73211009"]},
	]})
	plan.wished_codes == {"Observation": ["http://loinc.org|2339-0"], "Condition": ["http://snomed.info/sct|73211009"]} with input as given
	plan.wished_elements == {"Observation": ["value"], "Condition": ["severity"]} with input as given
}

package broker.release.rules.minors_test

import data.broker.lib.examples_test as examples
import data.broker.release.plan
import data.broker.release.rules.minors

# A child's data, with changes to the plain release.
child(changes) := examples.release(object.union({"/patient/age": "under_14", "/consent/givers": ["guardian"], "/consent/separate": ["sensitive"]}, changes))

test_a_guardian_s_separate_consent if {
	every age in ["under_14", "unknown"] {
		every giver in ["guardian", "guardian-no-capacity", "both"] {
			facts := child({"/patient/age": age, "/consent/givers": [giver]})
			minors.satisfied with input as facts
			count(minors.deny) == 0 with input as facts
		}
	}
}

test_a_child_s_own_word_is_not_enough if {
	every givers in [["patient"], ["unknown"], [], ["guardian", "patient"]] {
		facts := child({"/consent/givers": givers})
		not minors.satisfied with input as facts
		minors.deny == {"minors.guardian-needed"} with input as facts
	}
}

test_nobody_knows_the_age if {
	facts := child({"/patient/age": "unknown", "/consent/givers": ["patient"]})
	not minors.satisfied with input as facts
	minors.deny == {"minors.age-unknown"} with input as facts
}

test_the_guardian_s_consent_is_separate if {
	every separate in [[], ["other-processor"]] {
		facts := child({"/consent/separate": separate})
		not minors.satisfied with input as facts
		minors.deny == {"minors.not-separate"} with input as facts
	}
}

test_with_fourteen_the_guardian_s_word_ends if {
	every age in ["14_to_17", "adult"] {
		old := child({"/patient/age": age})
		not minors.satisfied with input as old
		minors.deny == {"minors.came-of-age"} with input as old
		every giver in ["patient", "both", "guardian-no-capacity", "unknown"] {
			new := child({"/patient/age": age, "/consent/givers": [giver], "/consent/separate": []})
			minors.satisfied with input as new
			count(minors.deny) == 0 with input as new
		}
	}
}

test_an_emergency_asks_no_guardian if {
	every age in ["under_14", "unknown", "14_to_17"] {
		facts := examples.emergency({"/patient/age": age, "/consent/givers": []})
		minors.satisfied with input as facts
		count(minors.deny) == 0 with input as facts
	}
}

test_nor_does_a_duty_of_the_law if {
	changes := {
		"/request/purpose": "PUBHLTH",
		"/request/lawful_basis": "statutory_duty",
		"/recipient/kind": "authority",
		"/request/data": [{"data_class": "clinical.diagnoses"}, {"data_class": "sensitive.hiv"}],
		"/consent/givers": [],
	}
	minors.satisfied with input as child(changes)
	count(minors.deny) == 0 with input as child(changes)
}

test_a_sensitive_class_rests_on_the_guardian_even_where_the_basis_needs_no_consent if {
	within := {"/request/lawful_basis": "contract", "/recipient/relationship": "internal", "/recipient/kind": "department", "/consent/givers": ["patient"]}
	minors.satisfied with input as child(within)
	asking := object.union(within, {"/request/data": [{"data_class": "clinical.diagnoses"}, {"data_class": "sensitive.mental-health"}]})
	not minors.satisfied with input as child(asking)
	minors.deny == {"minors.guardian-needed"} with input as child(asking)
}

test_what_a_recipient_of_a_child_s_data_must_do if {
	long := {"/request/retention_days": 367}
	plan.retention_days == 366 with input as child(long)
	plan.retention_days == 366 with input as child(object.union(long, {"/patient/age": "unknown"}))
	plan.retention_days == 367 with input as child(object.union(long, {"/patient/age": "adult"}))
	plan.retention_days == 30 with input as child({})
	{"code": "NOREUSE"} in plan.obligations with input as child({})
	not {"code": "NOREUSE"} in plan.obligations with input as examples.release({})
	named := [one | some one in plan.obligations; one.code == "NORDSCLCD"] with input as child({})
	count(named) == 1
}

test_nothing_says_nothing if {
	not minors.satisfied with input as {}
	count(minors.deny) == 0 with input as {}
}

test_an_age_that_was_not_told_is_no_unknown_age if {
	every giver in ["guardian", "patient"] {
		facts := json.remove(child({"/consent/givers": [giver]}), ["/facts/patient/age"])
		not minors.satisfied with input as facts
	}
	not minors.satisfied with input as child({"/patient/age": "old"})
}

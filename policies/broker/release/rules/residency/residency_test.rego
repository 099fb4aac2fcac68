package broker.release.rules.residency_test

import data.broker.lib.examples_test as examples
import data.broker.release.rules.residency

shown := {
	"route": "standard_contract",
	"route_from": examples.now - examples.day,
	"purposes": ["TREAT", "ETREAT", "HPAYMT"],
	"classes": ["clinical.diagnoses", "clinical.laboratory", "sensitive.genetics"],
	"persons": 3,
	"persons_limit": 3,
	"year_persons": 9999,
	"route_until": examples.now + examples.day,
	"impact_assessed": true,
	"separate_consent": true,
	"foreign_authority": false,
	"authority_approved": false,
}

# A referral to a hospital in Hong Kong, with what was shown for it.
away(changes) := examples.release({"/recipient/jurisdiction": "HK", "/residency": object.union(shown, changes)})

test_in_the_country if {
	residency.satisfied with input as examples.release({})
	count(residency.deny) == 0 with input as examples.release({})
}

test_abroad_with_everything_shown if {
	residency.satisfied with input as away({})
	count(residency.deny) == 0 with input as away({})
	residency.satisfied with input as away({"route_until": null})
	residency.satisfied with input as away({"route_until": examples.now})
}

test_abroad_with_nothing_shown if {
	nothing := examples.release({"/recipient/jurisdiction": "US"})
	not residency.satisfied with input as nothing
	residency.deny == {"residency.no-route"} with input as nothing
	not residency.satisfied with input as away({"route": null})
	residency.deny == {"residency.no-route"} with input as away({"route": null})
	residency.deny == {"residency.no-route"} with input as away({"route": null, "route_until": null})
	not residency.satisfied with input as away({"route": null, "route_until": null})
}

test_a_route_that_is_none if {
	not residency.satisfied with input as away({"route": "courier"})
	residency.deny == {"residency.other-route"} with input as away({"route": "courier"})
	not residency.satisfied with input as away({"route": "emergency_exemption"})
	residency.deny == {"residency.other-route"} with input as away({"route": "emergency_exemption"})
}

test_a_route_that_has_not_begun if {
	residency.satisfied with input as away({"route_from": examples.now})
	not residency.satisfied with input as away({"route_from": examples.now + 1})
	residency.deny == {"residency.route-not-begun"} with input as away({"route_from": examples.now + 1})
	not residency.satisfied with input as away({"route_from": examples.now + 1, "route_until": null})
}

test_a_route_of_which_nobody_knows_since_when if {
	not residency.satisfied with input as away({"route_from": null})
	residency.deny == {"residency.no-route"} with input as away({"route_from": null})
	not residency.satisfied with input as away({"route_from": null, "route_until": null})
}

# An insurer abroad asks about coverage, which is judged as payment.
paying(purposes) := examples.release({
	"/recipient/jurisdiction": "HK",
	"/request/purpose": "COVERAGE",
	"/residency": object.union(shown, {"purposes": purposes}),
})

test_the_sum_of_the_year_over_all_recipients if {
	denied := {"residency.year-exhausted"}
	not residency.satisfied with input as away({"year_persons": 10000})
	residency.deny == denied with input as away({"year_persons": 10000})
	not residency.satisfied with input as away({"year_persons": null})
	residency.deny == denied with input as away({"year_persons": null})
	residency.deny == denied with input as away({"year_persons": 10000, "route": "certification"})
	residency.satisfied with input as away({"year_persons": 10000, "route": "security_assessment"})
	residency.satisfied with input as away({"year_persons": null, "route": "contract_exemption"})
}

test_a_route_for_the_purpose_as_it_is_judged if {
	residency.covers_purpose with input as paying(["HPAYMT"])
	residency.covers_purpose with input as paying(["COVERAGE"])
	residency.covers_purpose == false with input as paying(["HRESCH"])
}

test_a_route_for_another_purpose if {
	not residency.satisfied with input as away({"purposes": ["HRESCH"]})
	residency.deny == {"residency.other-purpose"} with input as away({"purposes": ["HRESCH"]})
	followed := {"/request/purpose": "TREAT", "/recipient/jurisdiction": "HK", "/residency": object.union(shown, {"purposes": ["TREAT"]})}
	residency.satisfied with input as examples.release(followed)
}

test_a_purpose_is_covered_as_it_is_judged if {
	changes := {"/request/purpose": "BTG", "/recipient/jurisdiction": "HK", "/residency": object.union(shown, {"purposes": ["ETREAT"]})}
	residency.covers_purpose with input as examples.release(changes)
}

test_a_route_for_other_data if {
	not residency.satisfied with input as away({"classes": ["clinical.diagnoses"]})
	residency.deny == {"residency.other-data"} with input as away({"classes": ["clinical.diagnoses"]})
}

test_types_by_name_are_covered_by_a_class_that_brings_them_whole if {
	asking := {"/recipient/jurisdiction": "HK", "/request/data": [{"resource_type": "Condition"}]}
	residency.satisfied with input as examples.release(object.union(asking, {"/residency": shown}))
	other := object.union(shown, {"classes": ["clinical.laboratory"]})
	not residency.satisfied with input as examples.release(object.union(asking, {"/residency": other}))
	residency.deny == {"residency.other-data"} with input as examples.release(object.union(asking, {"/residency": other}))
}

test_a_route_for_fewer_people if {
	not residency.satisfied with input as away({"persons": 4})
	residency.deny == {"residency.too-many"} with input as away({"persons": 4})
	residency.satisfied with input as away({"persons": 4, "persons_limit": null})
}

operating := {"critical_infrastructure": {"operator": true}}

test_critical_infrastructure_needs_the_security_assessment if {
	not residency.satisfied with input as away({}) with data.broker.localisation as operating
	residency.deny == {"residency.localised"} with input as away({}) with data.broker.localisation as operating
	residency.satisfied with input as away({"route": "security_assessment"}) with data.broker.localisation as operating
}

test_a_route_that_is_over if {
	not residency.satisfied with input as away({"route_until": examples.now - 1})
	residency.deny == {"residency.route-over"} with input as away({"route_until": examples.now - 1})
}

test_no_impact_assessment if {
	not residency.satisfied with input as away({"impact_assessed": false})
	residency.deny == {"residency.not-assessed"} with input as away({"impact_assessed": false})
}

test_no_separate_consent if {
	not residency.satisfied with input as away({"separate_consent": false})
	residency.deny == {"residency.no-separate-consent"} with input as away({"separate_consent": false})
}

test_to_save_a_life_no_separate_consent_is_needed if {
	saving := object.union(shown, {"route": "emergency_exemption", "separate_consent": false})
	facts := examples.emergency({"/recipient/jurisdiction": "HK", "/residency": saving})
	residency.satisfied with input as facts
	count(residency.deny) == 0 with input as facts
}

test_a_foreign_court if {
	not residency.satisfied with input as away({"foreign_authority": true})
	residency.deny == {"residency.foreign-authority"} with input as away({"foreign_authority": true})
	residency.satisfied with input as away({"foreign_authority": true, "authority_approved": true})
	count(residency.deny) == 0 with input as away({"foreign_authority": true, "authority_approved": true})
}

test_genetics_stay if {
	asking := [{"data_class": "clinical.diagnoses"}, {"data_class": "sensitive.genetics"}]
	facts := examples.release({"/recipient/jurisdiction": "HK", "/residency": shown, "/request/data": asking})
	not residency.satisfied with input as facts
	residency.deny == {"residency.genetics"} with input as facts
}

test_a_purpose_that_needs_no_transfer if {
	facts := examples.release({
		"/recipient/jurisdiction": "HK",
		"/residency": shown,
		"/recipient/kind": "insurer",
		"/request/purpose": "HPAYMT",
		"/caller/token_purpose": "HPAYMT",
	})
	not residency.satisfied with input as facts
	residency.deny == {"residency.not-necessary"} with input as facts
}

test_nothing_says_nothing if {
	not residency.satisfied with input as {}
	count(residency.deny) == 0 with input as {}
}

package broker.release_test

import data.broker.lib.examples_test as examples
import data.broker.release

codes := {reason.code | some reason in release.decision.reasons}

test_a_good_case_is_permitted_with_a_plan if {
	answer := release.decision with input as examples.release({})
	answer.allow == true
	answer.reasons == []
	object.keys(answer.plan) == {"profile", "types", "windows", "labels", "limits", "consent"}
	answer.input_hash_echo == "h"
	answer.revision == data.broker.policy_set.revision
	answer.necessity == {}
}

test_an_assessment_says_what_was_cut if {
	answer := release.decision with input as examples.assess({})
	answer.allow == true
	answer.necessity.profile == "treatment-referral"
}

test_an_emergency_is_judged_by_its_own_set if {
	answer := release.decision with input as examples.emergency({})
	answer.allow == true
	answer.plan.profile == "treatment-emergency"
	codes == {"emergency.no-justification"} with input as examples.emergency({"/request/justification": false})
}

test_the_empty_input_is_refused_with_reasons if {
	answer := release.decision with input as {}
	answer.allow == false
	answer.plan == null
	answer.obligations == []
	answer.input_hash_echo == null
	codes == {concat(".", [rule, "undetermined"]) | some rule in object.keys(release.verdicts)} with input as {}
}

test_one_no_is_enough if {
	answer := release.decision with input as examples.release({"/grant/status": "revoked"})
	answer.allow == false
	answer.reasons == [{"code": "grant.revoked", "message": data.broker.reasons["grant.revoked"].en}]
}

test_every_no_is_told_and_sorted if {
	answer := release.decision with input as examples.release({"/grant/status": "revoked", "/consent/base": "deny", "/requester/active": false})
	[reason.code | some reason in answer.reasons] == ["consent.denied", "grant.revoked", "recipient.requester-inactive"]
}

test_a_rule_that_says_nothing_is_undetermined if {
	codes == {"grant.undetermined"} with input as examples.release({"/caller/status": "unheard-of"})
}

test_an_emergency_lifts_no_other_rule if {
	codes == {"consent.refused"} with input as examples.emergency({"/consent/refused": true})
	codes == {"recipient.suspended"} with input as examples.emergency({"/recipient/status": "suspended"})
}

test_policies_without_a_revision_name_none if {
	answer := release.decision with input as examples.release({}) with data.broker.policy_set as {}
	answer.revision == null
}

test_a_rule_that_says_yes_and_no_at_once_does_not_agree if {
	release.allow with input as examples.release({})
	not release.allow with input as examples.release({}) with data.broker.release.rules.basis.deny as {"basis.unknown"}
}

test_no_rules_allow_nothing if {
	not release.allow with input as examples.release({}) with release.always as {}
	not release.allow with input as examples.release({}) with release.word as {}
}

# METADATA
# title: Release
# description: >-
#   May this data leave, to whom, reduced to what, with which obligations? Every rule that is required must say yes and none may say no.
#   The rules are listed by name, so that taking a file away can never widen access.
package broker.release

import data.broker.lib.facts
import data.broker.release.cuts
import data.broker.release.plan
import data.broker.release.rules

default emergency_declared := false

# METADATA
# title: A declared emergency is judged by its own set of rules, chosen by this fact
emergency_declared if input.facts.request.emergency == true

# METADATA
# title: What each rule says that must say yes in every case; a new rule is one line here
# description: A rule whose file is missing leaves all of this undefined, and then nothing is allowed.
always := {
	"basis": {"yes": rules.basis.satisfied, "no": rules.basis.deny},
	"consent": {"yes": rules.consent.satisfied, "no": rules.consent.deny},
	"minors": {"yes": rules.minors.satisfied, "no": rules.minors.deny},
	"necessity": {"yes": rules.necessity.satisfied, "no": rules.necessity.deny},
	"purpose": {"yes": rules.purpose.satisfied, "no": rules.purpose.deny},
	"recipient": {"yes": rules.recipient.satisfied, "no": rules.recipient.deny},
	"residency": {"yes": rules.residency.satisfied, "no": rules.residency.deny},
	"sensitive": {"yes": rules.sensitive.satisfied, "no": rules.sensitive.deny},
	"workforce": {"yes": rules.workforce.satisfied, "no": rules.workforce.deny},
}

# METADATA
# title: On whose word it rests, a person's approval or a declared emergency, which lifts the approval alone
word := {"grant": {"yes": rules.grant.satisfied, "no": rules.grant.deny}} if emergency_declared == false

word := {"emergency": {"yes": rules.emergency.satisfied, "no": rules.emergency.deny}} if emergency_declared

# METADATA
# title: What each rule says that is required here
verdicts := object.union(always, word)

# METADATA
# title: What those rules say that say yes and do not say no
agreeing := [said |
	some said in verdicts
	said.yes == true
	count(said.no) == 0
]

default allow := false

# METADATA
# title: Every rule says yes, and none says no
allow if {
	count(always) > 0
	count(word) == 1
	count(agreeing) == count(verdicts)
}

# METADATA
# title: Why not, as codes
codes contains code if {
	some rule in object.keys(verdicts)
	some code in verdicts[rule].no
}

# METADATA
# title: A rule that said neither yes nor no is undetermined
codes contains code if {
	some rule in object.keys(verdicts)
	verdicts[rule].yes == false
	count(verdicts[rule].no) == 0
	code := concat(".", [rule, "undetermined"])
}

# METADATA
# title: Why not, with the English sentences
reasons := [reason |
	some code in sort(codes)
	reason := {"code": code, "message": object.get(data.broker.reasons, [code, "en"], code)}
]

default necessity_report := {}

# METADATA
# title: What was asked and what is left, for the person who decides; a release has no use for it
necessity_report := cuts.report if input.facts.question == "assess"

default input_hash_echo := null

# METADATA
# title: The hash of the facts that this answer is about
input_hash_echo := input.input_hash

default revision := null

# METADATA
# title: The revision of the policies that answer
revision := data.broker.policy_set.revision

# METADATA
# title: The decision
# description: The one document that the broker asks for. Whatever else comes back denies.
decision := {
	"allow": true,
	"reasons": [],
	"plan": {
		"profile": facts.profile_id,
		"types": plan.types,
		"windows": plan.windows,
		"labels": {"deny": plan.denied_labels, "ceiling": plan.ceiling},
		"consent": plan.consent,
		"limits": {"retention_days": plan.retention_days, "releases": plan.releases},
	},
	"obligations": plan.obligations,
	"necessity": necessity_report,
	"input_hash_echo": input_hash_echo,
	"revision": revision,
} if {
	allow
}

decision := {
	"allow": false,
	"reasons": reasons,
	"plan": null,
	"obligations": [],
	"necessity": necessity_report,
	"input_hash_echo": input_hash_echo,
	"revision": revision,
} if {
	allow == false
}

# METADATA
# title: Release
# description: >-
#   May this data leave, to whom, reduced to what, with which obligations? Every rule that is required must say yes and none may say no.
#   The rules are listed by name, so that taking a file away can never widen access.
package broker.release

import data.broker.lib.facts
import data.broker.release.cuts
import data.broker.release.plan
import data.broker.release.rules.basis
import data.broker.release.rules.consent
import data.broker.release.rules.emergency
import data.broker.release.rules.grant
import data.broker.release.rules.necessity
import data.broker.release.rules.purpose
import data.broker.release.rules.recipient
import data.broker.release.rules.residency
import data.broker.release.rules.sensitive
import data.broker.release.rules.workforce

default emergency_declared := false

# METADATA
# title: A declared emergency is judged by its own set of rules, chosen by this fact
emergency_declared if facts.request.emergency == true

default allow := false

# METADATA
# title: Every rule says yes, and none says no
allow if {
	emergency_declared == false
	grant.satisfied
	count(grant.deny) == 0
	always_required
}

# METADATA
# title: In a declared emergency the rule emergency stands in for the rule grant
allow if {
	emergency_declared
	emergency.satisfied
	count(emergency.deny) == 0
	always_required
}

default always_required := false

# METADATA
# title: The rules that must say yes in every case
always_required if {
	basis.satisfied
	consent.satisfied
	necessity.satisfied
	purpose.satisfied
	recipient.satisfied
	residency.satisfied
	sensitive.satisfied
	workforce.satisfied
	count(basis.deny) == 0
	count(consent.deny) == 0
	count(necessity.deny) == 0
	count(purpose.deny) == 0
	count(recipient.deny) == 0
	count(residency.deny) == 0
	count(sensitive.deny) == 0
	count(workforce.deny) == 0
}

# METADATA
# title: The names of the rules that must say yes
required := ["basis", "consent", "grant", "necessity", "purpose", "recipient", "residency", "sensitive", "workforce"] if emergency_declared == false

required := ["basis", "consent", "emergency", "necessity", "purpose", "recipient", "residency", "sensitive", "workforce"] if emergency_declared

# METADATA
# title: What each rule says, for the reasons of a refusal
verdicts := {
	"basis": {"satisfied": basis.satisfied, "deny": basis.deny},
	"consent": {"satisfied": consent.satisfied, "deny": consent.deny},
	"emergency": {"satisfied": emergency.satisfied, "deny": emergency.deny},
	"grant": {"satisfied": grant.satisfied, "deny": grant.deny},
	"necessity": {"satisfied": necessity.satisfied, "deny": necessity.deny},
	"purpose": {"satisfied": purpose.satisfied, "deny": purpose.deny},
	"recipient": {"satisfied": recipient.satisfied, "deny": recipient.deny},
	"residency": {"satisfied": residency.satisfied, "deny": residency.deny},
	"sensitive": {"satisfied": sensitive.satisfied, "deny": sensitive.deny},
	"workforce": {"satisfied": workforce.satisfied, "deny": workforce.deny},
}

# METADATA
# title: Why not, as codes
codes contains code if {
	some rule in required
	some code in verdicts[rule].deny
}

# METADATA
# title: A rule that said neither yes nor no is undetermined
codes contains code if {
	some rule in required
	verdicts[rule].satisfied == false
	count(verdicts[rule].deny) == 0
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
necessity_report := cuts.report if facts.question == "assess"

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

# METADATA
# title: Sensitive categories
# description: >-
#   HIV, mental health, substance use, sexual and reproductive health, genetics and violence stay behind by default. An application may ask
#   for one by its class where the profile allows it and the patient consents, or a law overrides a refusal; and then stricter rules hold,
#   category by category: for which purposes, to whom, by which channel, approved by how many, kept how long.
# custom:
#   law: PIPL 28-29; 艾滋病防治条例 39(2); 精神卫生法 4, 23
package broker.release.rules.sensitive

import data.broker.lib.asked
import data.broker.lib.facts

default satisfied := false

# METADATA
# title: Nothing sensitive is asked
satisfied if {
	count(input.facts.request.data) > 0
	count(asked.told) == count(asked.rows)
	count(asked.lifts) == 0
}

# METADATA
# title: What is asked may be lifted, and there are grounds for it
satisfied if {
	count(asked.told) == count(asked.rows)
	count(asked.lifts) > 0
	count(facts.profile.may_lift) > 0
	count(beyond_profile) == 0
	facts.lifting_grounds
	count(fitting) == count(asked.lifts)
}

# METADATA
# title: The stricter rules of what is asked and the profile allows, by category
packs[category] := row.pack if {
	some category in asked.lifts
	row := data.broker.sensitive.categories[category]
	row.data_class in facts.profile.may_lift
}

# METADATA
# title: Categories asked whose stricter rules are all kept
fitting := {category |
	some category in asked.lifts
	pack := packs[category]
	facts.purpose.judged_as in pack.purposes
	input.facts.recipient.kind in pack.kinds
	input.facts.request.channel in pack.channels
	enough_approvals[category]
	short_enough[category]
}

# METADATA
# title: Categories that enough people approved; an assessment does not wait for them
enough_approvals contains category if {
	some category in object.keys(packs)
	input.facts.question == "assess"
}

enough_approvals contains category if {
	some category in object.keys(packs)
	input.facts.grant.approved_by >= packs[category].approvals
}

# METADATA
# title: Categories that would not be kept longer than they may; unsaid means as long as they may
short_enough contains category if {
	some category in object.keys(packs)
	input.facts.request.retention_days == null
}

short_enough contains category if {
	some category in object.keys(packs)
	input.facts.request.retention_days <= packs[category].retention_days
}

# METADATA
# title: Sensitive classes asked that the profile keeps back
beyond_profile := {class |
	some category in asked.lifts
	class := data.broker.sensitive.categories[category].data_class
	may_lift := class in facts.profile.may_lift
	may_lift == false
}

# METADATA
# title: The purpose does not need the sensitive class that is asked
# custom:
#   code: sensitive.not-necessary
deny contains "sensitive.not-necessary" if count(beyond_profile) > 0

# METADATA
# title: A sensitive class needs the patient's consent, or a law that overrides a refusal
# custom:
#   code: sensitive.consent-required
deny contains "sensitive.consent-required" if {
	count(asked.lifts) > 0
	facts.lifting_grounds == false
}

# METADATA
# title: The category is not shared for this purpose
# custom:
#   code: sensitive.purpose
deny contains "sensitive.purpose" if {
	some category in object.keys(packs)
	fits := facts.purpose.judged_as in packs[category].purposes
	fits == false
}

# METADATA
# title: The category is not shared with this kind of recipient
# custom:
#   code: sensitive.recipient
deny contains "sensitive.recipient" if {
	some category in object.keys(packs)
	fits := input.facts.recipient.kind in packs[category].kinds
	fits == false
}

# METADATA
# title: The category does not leave by this channel
# custom:
#   code: sensitive.channel
deny contains "sensitive.channel" if {
	some category in object.keys(packs)
	fits := input.facts.request.channel in packs[category].channels
	fits == false
}

# METADATA
# title: Too few people approved the category
# custom:
#   code: sensitive.approvals
deny contains "sensitive.approvals" if {
	some category in object.keys(packs)
	input.facts.question == "release"
	input.facts.grant.approved_by < packs[category].approvals
}

# METADATA
# title: The category would be kept too long
# custom:
#   code: sensitive.retention
deny contains "sensitive.retention" if {
	some category in object.keys(packs)
	input.facts.request.retention_days != null
	input.facts.request.retention_days > packs[category].retention_days
}

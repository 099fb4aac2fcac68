# METADATA
# title: Necessity
# description: >-
#   What was asked, cut down to the least-necessary profile, leaves something; the channel and the time it is kept fit the profile.
# custom:
#   law: PIPL 6, 19, 28; RS-5.2.3
package broker.release.rules.necessity

import data.broker.lib.asked
import data.broker.lib.facts
import data.broker.release.plan

default satisfied := false

# METADATA
# title: Something is left of what was asked
satisfied if {
	count(asked.rows) == count(asked.classes)
	count(plan.types) > 0
	input.facts.request.channel in facts.profile.channels
	retention_fits
}

default retention_fits := false

# METADATA
# title: Kept no longer than the profile allows; unsaid means the profile's own limit
retention_fits if input.facts.request.retention_days == null

retention_fits if {
	input.facts.request.retention_days != null
	input.facts.request.retention_days <= facts.profile.limits.retention_days
}

# METADATA
# title: Nothing was asked
# custom:
#   code: necessity.nothing-asked
deny contains "necessity.nothing-asked" if count(input.facts.request.data) == 0

# METADATA
# title: A data class is not in the catalogue
# custom:
#   code: necessity.unknown-class
deny contains "necessity.unknown-class" if count(asked.rows) < count(asked.classes)

# METADATA
# title: Nothing of what was asked is necessary
# custom:
#   code: necessity.nothing-left
deny contains "necessity.nothing-left" if {
	facts.has_profile
	count(input.facts.request.data) > 0
	count(plan.types) == 0
}

# METADATA
# title: The data would be kept too long
# custom:
#   code: necessity.retention
deny contains "necessity.retention" if {
	input.facts.request.retention_days != null
	input.facts.request.retention_days > facts.profile.limits.retention_days
}

# METADATA
# title: This channel is not open for this purpose
# custom:
#   code: necessity.channel
deny contains "necessity.channel" if {
	open := input.facts.request.channel in facts.profile.channels
	open == false
}

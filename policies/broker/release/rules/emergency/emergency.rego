# METADATA
# title: Emergency
# description: >-
#   Break-glass: access without prior approval, for a short time, justified, and reviewed afterwards.
#   It stands in for the rule grant, and lifts the approval alone.
# custom:
#   law: PIPL 13(1)(4); TM-5.5
package broker.release.rules.emergency

import data.broker.lib.facts
import data.broker.lib.grants

default satisfied := false

# METADATA
# title: A declared emergency may be assessed
satisfied if {
	input.facts.question == "assess"
	declared
	input.facts.grant.status in {"proposed", "active"}
	input.facts.patient.match == "certain"
}

# METADATA
# title: A release in a declared emergency stands on a short grant of its own
satisfied if {
	input.facts.question == "release"
	declared
	grants.usable
}

default declared := false

# METADATA
# title: Declared, urgent, justified, short, and for a purpose of emergencies
declared if {
	input.facts.request.emergency == true
	input.facts.request.urgency == "emergency"
	input.facts.request.justification == true
	seconds > 0
	input.facts.grant.valid_until - input.facts.grant.valid_from <= seconds
}

# METADATA
# title: How long emergency access for this purpose may last
seconds := facts.purpose.emergency_seconds

# METADATA
# title: The purpose is not one of emergencies
# custom:
#   code: emergency.other-purpose
deny contains "emergency.other-purpose" if seconds == 0

# METADATA
# title: The request is not marked as an emergency
# custom:
#   code: emergency.not-urgent
deny contains "emergency.not-urgent" if input.facts.request.urgency != "emergency"

# METADATA
# title: No justification was given
# custom:
#   code: emergency.no-justification
deny contains "emergency.no-justification" if input.facts.request.justification == false

# METADATA
# title: Emergency access was opened for too long
# custom:
#   code: emergency.too-long
deny contains "emergency.too-long" if {
	seconds > 0
	input.facts.grant.valid_until - input.facts.grant.valid_from > seconds
}

# METADATA
# title: The emergency grant does not hold for this caller and patient now
# custom:
#   code: emergency.not-live
deny contains "emergency.not-live" if {
	input.facts.question == "release"
	grants.usable == false
}

# METADATA
# title: It is not certain who the patient is
# custom:
#   code: emergency.patient-uncertain
deny contains "emergency.patient-uncertain" if input.facts.patient.match != "certain"

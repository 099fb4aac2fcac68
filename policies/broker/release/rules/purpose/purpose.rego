# METADATA
# title: Purpose
# description: >-
#   Data serve one purpose, the one that was approved. It must be one that this kind of recipient has a least-necessary profile for.
# custom:
#   law: PIPL 6, 14, 28; PI-3.4
package broker.release.rules.purpose

import data.broker.lib.facts

default satisfied := false

# METADATA
# title: An assessment judges the purpose alone
satisfied if {
	input.facts.question == "assess"
	facts.has_profile
	emergency_agrees
}

# METADATA
# title: In a release the token's purpose is the approved one
satisfied if {
	input.facts.question == "release"
	input.facts.caller.token_purpose == input.facts.request.purpose
	facts.has_profile
	emergency_agrees
}

default emergency_agrees := false

# METADATA
# title: An emergency is declared, or the purpose is not one of emergencies
emergency_agrees if input.facts.request.emergency == true

emergency_agrees if facts.purpose.emergency_seconds == 0

# METADATA
# title: There is no such purpose
# custom:
#   code: purpose.unknown
deny contains "purpose.unknown" if object.get(data.broker.purposes, input.facts.request.purpose, null) == null

# METADATA
# title: Nothing is shared for this purpose
# custom:
#   code: purpose.not-shared
deny contains "purpose.not-shared" if facts.purpose.judged_as == null

# METADATA
# title: This kind of recipient has no profile for this purpose
# custom:
#   code: purpose.not-for-recipient
deny contains "purpose.not-for-recipient" if {
	facts.purpose.judged_as != null
	facts.has_profile == false
}

# METADATA
# title: The token was issued for another purpose
# custom:
#   code: purpose.other-token
deny contains "purpose.other-token" if {
	input.facts.question == "release"
	input.facts.caller.token_purpose != input.facts.request.purpose
}

# METADATA
# title: An emergency purpose without a declared emergency
# custom:
#   code: purpose.emergency-not-declared
deny contains "purpose.emergency-not-declared" if {
	input.facts.request.emergency == false
	facts.purpose.emergency_seconds > 0
}

# METADATA
# title: Grant
# description: >-
#   A release stands on a live grant that a person approved, for the caller that the token names and a patient who is certainly the right one.
# custom:
#   law: RS-5.3.2; PIPL 21, 23
package broker.release.rules.grant

import data.broker.lib.grants

default satisfied := false

# METADATA
# title: A proposal may be assessed
satisfied if {
	input.facts.question == "assess"
	input.facts.grant.status in {"proposed", "active"}
	input.facts.at <= input.facts.grant.valid_until
	input.facts.patient.match == "certain"
}

# METADATA
# title: A release needs an approved grant that is usable now
satisfied if {
	input.facts.question == "release"
	input.facts.grant.approved_by >= 1
	grants.usable
}

# METADATA
# title: The application was never approved
# custom:
#   code: grant.not-approved
deny contains "grant.not-approved" if {
	input.facts.question == "release"
	input.facts.grant.status == "proposed"
}

deny contains "grant.not-approved" if {
	input.facts.question == "release"
	input.facts.grant.approved_by < 1
}

# METADATA
# title: The grant is suspended
# custom:
#   code: grant.suspended
deny contains "grant.suspended" if input.facts.grant.status == "suspended"

# METADATA
# title: The grant was revoked
# custom:
#   code: grant.revoked
deny contains "grant.revoked" if input.facts.grant.status == "revoked"

# METADATA
# title: The grant is closed
# custom:
#   code: grant.closed
deny contains "grant.closed" if input.facts.grant.status == "closed"

# METADATA
# title: The grant's term is over
# custom:
#   code: grant.expired
deny contains "grant.expired" if input.facts.grant.status == "expired"

deny contains "grant.expired" if input.facts.grant.valid_until < input.facts.at

# METADATA
# title: The grant's term has not begun
# custom:
#   code: grant.not-yet
deny contains "grant.not-yet" if {
	input.facts.question == "release"
	input.facts.at < input.facts.grant.valid_from
}

# METADATA
# title: The agreed number of releases is used up
# custom:
#   code: grant.used-up
deny contains "grant.used-up" if {
	input.facts.grant.releases_limit != null
	input.facts.grant.releases_used >= input.facts.grant.releases_limit
}

# METADATA
# title: The patient is not one of the grant
# custom:
#   code: grant.other-patient
deny contains "grant.other-patient" if {
	input.facts.question == "release"
	input.facts.patient.in_grant == false
}

# METADATA
# title: It is not certain who the patient is
# custom:
#   code: grant.patient-uncertain
deny contains "grant.patient-uncertain" if input.facts.patient.match != "certain"

# METADATA
# title: The caller is suspended
# custom:
#   code: grant.caller-suspended
deny contains "grant.caller-suspended" if {
	input.facts.question == "release"
	input.facts.caller.status == "suspended"
}

# METADATA
# title: The token was issued for another grant
# custom:
#   code: grant.other-token
deny contains "grant.other-token" if {
	input.facts.question == "release"
	input.facts.caller.token_grant != input.facts.grant.id
}

# METADATA
# title: Grants
# description: Whether a grant can carry a release at this moment for this caller and patient, whoever approved it.
package broker.lib.grants

default usable := false

# METADATA
# title: The grant is live, not used up, and caller and patient are its own; its last second is part of its term
usable if {
	input.facts.grant.status == "active"
	input.facts.grant.valid_from <= input.facts.at
	input.facts.at <= input.facts.grant.valid_until
	releases_left
	input.facts.caller.status == "active"
	input.facts.caller.token_grant == input.facts.grant.id
	input.facts.patient.in_grant == true
	input.facts.patient.match == "certain"
}

default releases_left := false

# METADATA
# title: The agreed number of releases is not used up, or none was agreed
releases_left if input.facts.grant.releases_limit == null

releases_left if input.facts.grant.releases_used < input.facts.grant.releases_limit

# METADATA
# title: Grants
# description: Whether a grant can carry a release at this moment for this caller and patient, whoever approved it.
package broker.lib.grants

import data.broker.lib.facts

default usable := false

# METADATA
# title: The grant is live, not used up, and caller and patient are its own; its last second is part of its term
usable if {
	facts.grant.status == "active"
	facts.grant.valid_from <= facts.at
	facts.at <= facts.grant.valid_until
	releases_left
	facts.caller.status == "active"
	facts.caller.token_grant == facts.grant.id
	facts.patient.in_grant == true
	facts.patient.match == "certain"
}

default releases_left := false

# METADATA
# title: The agreed number of releases is not used up, or none was agreed
releases_left if facts.grant.releases_limit == null

releases_left if facts.grant.releases_used < facts.grant.releases_limit

# METADATA
# title: Residency
# description: >-
#   Data stay in the mainland. They leave it only where the profile foresees that, by a legal route that is in force, after an impact
#   assessment and with the person's separate consent; to a foreign court or police only with the competent authority's approval.
# custom:
#   law: PIPL 38-41, 55; 促进和规范数据跨境流动规定 5; 人类遗传资源管理条例 28
package broker.release.rules.residency

import data.broker.lib.asked
import data.broker.lib.facts

default satisfied := false

# METADATA
# title: The recipient is in the mainland
satisfied if facts.recipient.jurisdiction == "CN"

# METADATA
# title: A transfer abroad with everything that the law asks of it
satisfied if {
	facts.profile.abroad == true
	facts.residency.impact_assessed == true
	route_carries
	route_in_force
	consented
	no_foreign_authority
	no_genetics
}

# METADATA
# title: The legal route, as the table has it; undefined for none and for an unknown one
route := data.broker.transfer_routes[facts.residency.route]

default route_carries := false

# METADATA
# title: The route is one for this purpose
route_carries if facts.purpose.judged_as in route.purposes

default route_in_force := false

# METADATA
# title: The route is in force at this moment
route_in_force if {
	facts.residency.route != null
	facts.residency.route_until == null
}

route_in_force if facts.at <= facts.residency.route_until

default consented := false

# METADATA
# title: The person agreed to the transfer separately, or the route needs no such consent
consented if facts.residency.separate_consent == true

consented if route.separate_consent == false

default no_foreign_authority := false

# METADATA
# title: The recipient is no foreign court or police, or the competent authority approved
no_foreign_authority if facts.residency.foreign_authority == false

no_foreign_authority if facts.residency.authority_approved == true

default no_genetics := false

# METADATA
# title: It is certain that no genetic data are asked
no_genetics if {
	count(asked.rows) == count(asked.classes)
	named := "GDIS" in asked.lifts
	named == false
}

default abroad := false

# METADATA
# title: The recipient is outside of the mainland
abroad if facts.recipient.jurisdiction != "CN"

# METADATA
# title: The purpose needs no transfer abroad
# custom:
#   code: residency.not-necessary
deny contains "residency.not-necessary" if {
	abroad
	facts.profile.abroad == false
}

# METADATA
# title: No legal route for a transfer abroad was shown
# custom:
#   code: residency.no-route
deny contains "residency.no-route" if {
	abroad
	facts.residency == null
}

deny contains "residency.no-route" if {
	abroad
	facts.residency.route == null
}

# METADATA
# title: The route is none that the law knows for this purpose
# custom:
#   code: residency.other-route
deny contains "residency.other-route" if {
	abroad
	facts.residency.route != null
	route_carries == false
}

# METADATA
# title: The route is no longer in force
# custom:
#   code: residency.route-over
deny contains "residency.route-over" if {
	abroad
	facts.residency.route_until != null
	facts.residency.route_until < facts.at
}

# METADATA
# title: No protection impact assessment is on record
# custom:
#   code: residency.not-assessed
deny contains "residency.not-assessed" if {
	abroad
	facts.residency.impact_assessed == false
}

# METADATA
# title: The person has not agreed to the transfer abroad separately
# custom:
#   code: residency.no-separate-consent
deny contains "residency.no-separate-consent" if {
	abroad
	facts.residency.separate_consent == false
	consented == false
}

# METADATA
# title: A foreign court or police asks, and the competent authority has not approved
# custom:
#   code: residency.foreign-authority
deny contains "residency.foreign-authority" if {
	abroad
	facts.residency.foreign_authority == true
	facts.residency.authority_approved == false
}

# METADATA
# title: Genetic data do not leave the mainland by this way
# custom:
#   code: residency.genetics
deny contains "residency.genetics" if {
	abroad
	"GDIS" in asked.lifts
}

# METADATA
# title: Residency
# description: >-
#   Data stay in the mainland. They leave it only where the profile foresees that, by a legal route that two people entered in the register of
#   transfer routes, that is in force and covers purpose, data, number of persons and the sum of the year, after an impact assessment and with the person's separate
#   consent; to a foreign court or police only with the competent authority's approval. An operator of critical infrastructure
#   (data/localisation.json) needs the security assessment.
# custom:
#   law: PIPL 38-41, 55; 促进和规范数据跨境流动规定 5, 7, 8; 数据出境安全评估办法 14; 人类遗传资源管理条例 28
package broker.release.rules.residency

import data.broker.lib.asked
import data.broker.lib.facts

default satisfied := false

# METADATA
# title: The recipient is in the mainland
satisfied if input.facts.recipient.jurisdiction == "CN"

# METADATA
# title: A transfer abroad with everything that the law asks of it
satisfied if {
	facts.profile.abroad == true
	input.facts.residency.impact_assessed == true
	route_carries
	route_in_force
	covers_purpose
	covers_data
	covers_persons
	covers_year
	localised == false
	consented
	no_foreign_authority
	no_genetics
}

# METADATA
# title: The legal route, as the table has it; undefined for none and for an unknown one
route := data.broker.transfer_routes[input.facts.residency.route]

default route_carries := false

# METADATA
# title: The route is one for this purpose
route_carries if facts.purpose.judged_as in route.purposes

default route_in_force := false

# METADATA
# title: The route is in force at this moment
route_in_force if {
	input.facts.residency.route_from != null
	input.facts.residency.route_from <= input.facts.at
	input.facts.residency.route_until == null
}

route_in_force if {
	input.facts.residency.route_from != null
	input.facts.residency.route_from <= input.facts.at
	input.facts.at <= input.facts.residency.route_until
}

default covers_purpose := false

# METADATA
# title: The register names the purpose, itself or as it is judged
covers_purpose if input.facts.request.purpose in input.facts.residency.purposes

covers_purpose if facts.purpose.judged_as in input.facts.residency.purposes

default covers_data := false

# METADATA
# title: The register names every class that is asked, and a class with every type that is asked by name
covers_data if {
	count(input.facts.request.data) > 0
	count(other_classes) == 0
	count(other_types) == 0
}

# METADATA
# title: Classes asked that the register does not name
other_classes := [class |
	some class in asked.classes
	named := class in input.facts.residency.classes
	named == false
]

# METADATA
# title: Types asked by name that no class of the register brings whole
other_types := [type |
	some type in asked.named
	brought := type in brought_types
	brought == false
]

# METADATA
# title: Types that the classes of the register bring whole
brought_types := {type |
	some class in input.facts.residency.classes
	some type in data.broker.data_classes[class].types
}

default covers_persons := false

# METADATA
# title: No more people than the route is for
covers_persons if {
	input.facts.residency.route != null
	input.facts.residency.persons_limit == null
}

covers_persons if input.facts.residency.persons <= input.facts.residency.persons_limit

default covers_year := false

# METADATA
# title: The route has room this year, all recipients abroad together; whatever is known of a patient is sensitive (PIPL 28)
covers_year if route.yearly == null

covers_year if {
	input.facts.residency.year_persons != null
	input.facts.residency.year_persons < route.yearly.sensitive
	input.facts.residency.year_persons < route.yearly.people
}

default localised := true

# METADATA
# title: The hospital operates critical infrastructure, and the route is none for that
localised := false if data.broker.localisation.critical_infrastructure.operator == false

localised := false if route.critical_infrastructure == true

default consented := false

# METADATA
# title: The person agreed to the transfer separately, or the route needs no such consent
consented if input.facts.residency.separate_consent == true

consented if route.separate_consent == false

default no_foreign_authority := false

# METADATA
# title: The recipient is no foreign court or police, or the competent authority approved
no_foreign_authority if input.facts.residency.foreign_authority == false

no_foreign_authority if input.facts.residency.authority_approved == true

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
abroad if input.facts.recipient.jurisdiction != "CN"

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
	input.facts.residency == null
}

deny contains "residency.no-route" if {
	abroad
	input.facts.residency.route == null
}

deny contains "residency.no-route" if {
	abroad
	input.facts.residency.route_from == null
}

# METADATA
# title: The route is none that the law knows for this purpose
# custom:
#   code: residency.other-route
deny contains "residency.other-route" if {
	abroad
	input.facts.residency.route != null
	route_carries == false
}

# METADATA
# title: The route is no longer in force
# custom:
#   code: residency.route-over
deny contains "residency.route-over" if {
	abroad
	input.facts.residency.route_until != null
	input.facts.residency.route_until < input.facts.at
}

# METADATA
# title: The route is not in force yet
# custom:
#   code: residency.route-not-begun
deny contains "residency.route-not-begun" if {
	abroad
	input.facts.residency.route != null
	input.facts.residency.route_from != null
	input.facts.at < input.facts.residency.route_from
}

# METADATA
# title: The route was entered for other purposes
# custom:
#   code: residency.other-purpose
deny contains "residency.other-purpose" if {
	abroad
	input.facts.residency.route != null
	covers_purpose == false
}

# METADATA
# title: The route was entered for other data
# custom:
#   code: residency.other-data
deny contains "residency.other-data" if {
	abroad
	input.facts.residency.route != null
	covers_data == false
}

# METADATA
# title: The route is for fewer people
# custom:
#   code: residency.too-many
deny contains "residency.too-many" if {
	abroad
	input.facts.residency.route != null
	covers_persons == false
}

# METADATA
# title: The year's sum over all recipients abroad has reached what the route carries
# custom:
#   code: residency.year-exhausted
deny contains "residency.year-exhausted" if {
	abroad
	route_carries
	covers_year == false
}

# METADATA
# title: An operator of critical infrastructure needs the security assessment
# custom:
#   code: residency.localised
deny contains "residency.localised" if {
	abroad
	input.facts.residency.route != null
	localised
}

# METADATA
# title: No protection impact assessment is on record
# custom:
#   code: residency.not-assessed
deny contains "residency.not-assessed" if {
	abroad
	input.facts.residency.impact_assessed == false
}

# METADATA
# title: The person has not agreed to the transfer abroad separately
# custom:
#   code: residency.no-separate-consent
deny contains "residency.no-separate-consent" if {
	abroad
	input.facts.residency.separate_consent == false
	consented == false
}

# METADATA
# title: A foreign court or police asks, and the competent authority has not approved
# custom:
#   code: residency.foreign-authority
deny contains "residency.foreign-authority" if {
	abroad
	input.facts.residency.foreign_authority == true
	input.facts.residency.authority_approved == false
}

# METADATA
# title: Genetic data do not leave the mainland by this way
# custom:
#   code: residency.genetics
deny contains "residency.genetics" if {
	abroad
	"GDIS" in asked.lifts
}

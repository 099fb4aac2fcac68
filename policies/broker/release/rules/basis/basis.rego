# METADATA
# title: Lawful basis
# description: >-
#   Every application names the lawful basis it stands on, and that basis must carry its purpose. The table is data/lawful_bases.json.
# custom:
#   law: PIPL 13; RS-4, RS-5.2.1
package broker.release.rules.basis

import data.broker.lib.facts

default satisfied := false

# METADATA
# title: The basis carries the purpose
satisfied if facts.purpose.judged_as in facts.basis.purposes

# METADATA
# title: There is no such lawful basis
# custom:
#   code: basis.unknown
deny contains "basis.unknown" if object.get(data.broker.lawful_bases, input.facts.request.lawful_basis, null) == null

# METADATA
# title: The lawful basis does not carry this purpose
# custom:
#   code: basis.not-for-purpose
deny contains "basis.not-for-purpose" if {
	carried := facts.purpose.judged_as in facts.basis.purposes
	carried == false
}

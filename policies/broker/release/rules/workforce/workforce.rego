# METADATA
# title: Workforce
# description: >-
#   Whoever applied holds what the profile and the registers require: licence, scope of practice, training. Where a profile requires
#   something and no register was asked, the answer is no.
# custom:
#   law: 医师法 13, 14; 护士条例 8; 互联网诊疗管理办法 13; TM-5.1, PI-4, ID-2.2
package broker.release.rules.workforce

import data.broker.lib.facts

default satisfied := false

# METADATA
# title: The profile requires nothing, and no register was asked
satisfied if {
	input.facts.workforce == null
	count(facts.profile.workforce) == 0
}

# METADATA
# title: Everything that is required is held, and nothing of it has expired
satisfied if {
	count(held) == count(required)
	count(expired) == 0
}

# METADATA
# title: What the profile requires and what the registers demand; undefined where no register was asked
required := array.concat(facts.profile.workforce, input.facts.workforce.required)

# METADATA
# title: What of it is held
held := [code |
	some code in required
	code in input.facts.workforce.held
]

# METADATA
# title: What of it has expired
expired := [code |
	some code in required
	code in input.facts.workforce.expired
]

# METADATA
# title: No register was asked, and the profile requires a qualification
# custom:
#   code: workforce.unknown
deny contains "workforce.unknown" if {
	input.facts.workforce == null
	count(facts.profile.workforce) > 0
}

# METADATA
# title: A qualification or training that is required has expired
# custom:
#   code: workforce.expired
deny contains "workforce.expired" if count(expired) > 0

# METADATA
# title: A qualification or training that is required is missing
# custom:
#   code: workforce.missing
deny contains "workforce.missing" if {
	some code in required
	now := code in input.facts.workforce.held
	now == false
	once := code in input.facts.workforce.expired
	once == false
}

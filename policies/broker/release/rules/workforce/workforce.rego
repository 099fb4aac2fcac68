# METADATA
# title: Workforce
# description: >-
#   Whoever applied holds what the profile and the registers require: licence, scope of practice, training. A profile says it in lines, of each of
#   which one must be held, such as a doctor's or a nurse's licence; the registers demand every code. Where a profile requires something and no
#   register was asked, the answer is no.
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
# title: Of every line one is held, and nothing of it has expired
satisfied if count(met) == count(lines)

# METADATA
# title: What the profile requires and what the registers demand, in lines; undefined where no register was asked
lines := array.concat(facts.profile.workforce, demanded) if count(input.facts.workforce.required) >= 0

# METADATA
# title: What the registers demand, a line for each code
demanded := [line |
	some code in input.facts.workforce.required
	line := [code]
]

# METADATA
# title: Lines of which one code is held
met := [line |
	some line in lines
	held := [code |
		some code in line
		code in input.facts.workforce.held
		lapsed := code in input.facts.workforce.expired
		lapsed == false
	]
	count(held) > 0
]

# METADATA
# title: Lines of which none is held
unmet := [line |
	some line in lines
	is_met := line in met
	is_met == false
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
deny contains "workforce.expired" if {
	some line in unmet
	some code in line
	code in input.facts.workforce.expired
}

# METADATA
# title: A qualification or training that is required is missing
# custom:
#   code: workforce.missing
deny contains "workforce.missing" if {
	some line in unmet
	lapsed := [code |
		some code in line
		code in input.facts.workforce.expired
	]
	count(lapsed) == 0
}

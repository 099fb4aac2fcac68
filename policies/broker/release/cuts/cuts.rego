# METADATA
# title: Cuts
# description: What was asked, what of it is left, and why each thing was cut, for the page on which a person decides. Never consulted for a release.
package broker.release.cuts

import data.broker.lib.asked
import data.broker.lib.facts
import data.broker.release.plan

# METADATA
# title: The report; undefined where no profile applies, since then everything was cut
report := {
	"profile": facts.profile_id,
	"asked": sort(wished),
	"left": sort(kept),
	"cut": array.concat(array.concat(types, selections), array.concat(array.concat(elements, codes), array.concat(periods, labels))),
}

# METADATA
# title: Every type asked
wished := (asked.named | {type | some type in asked.whole}) | {type |
	some part in asked.parts
	type := part.type
}

# METADATA
# title: Types of which something is left
kept := object.keys(plan.types)

# METADATA
# title: Types that the profile has
profiled := object.keys(facts.profile.types)

# METADATA
# title: Types that the purpose does not need
types := [cut |
	some type in sort(wished - profiled)
	cut := {"type": type, "item": "", "reason": "cut.type"}
]

# METADATA
# title: Types that the purpose needs, but nothing of what was asked of them
selections := [cut |
	some type in sort((wished & profiled) - kept)
	cut := {"type": type, "item": "", "reason": "cut.selection"}
]

# METADATA
# title: Elements that the purpose does not need
elements := [cut |
	some type in sort(kept & object.keys(plan.wished_elements))
	some item in sort({wish | some wish in plan.wished_elements[type]} - {element | some element in plan.chosen_elements[type]})
	cut := {"type": type, "item": item, "reason": "cut.element"}
]

# METADATA
# title: Codes and categories that the purpose does not need
codes := [cut |
	some type in sort(kept)
	wishes := array.concat(object.get(plan.wished_codes, type, []), [category |
		some part in asked.parts
		part.type == type
		some category in part.categories
	])
	some item in sort({wish | some wish in wishes})
	left := item in array.concat(plan.types[type].codes, plan.types[type].categories)
	left == false
	cut := {"type": type, "item": item, "reason": "cut.code"}
]

# METADATA
# title: Types that the purpose needs only of recent years
periods := [cut |
	some type in sort(kept)
	data.broker.types[type].dated == true
	plan.windows[facts.profile.types[type].window] != input.facts.request.period_from
	cut := {"type": type, "item": "", "reason": "cut.period"}
]

# METADATA
# title: Sensitive categories that stay behind
labels := [cut |
	some category in sort(object.keys(data.broker.sensitive.categories) - plan.lifted)
	cut := {"type": "", "item": category, "reason": "cut.label"}
]

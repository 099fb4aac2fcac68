# METADATA
# title: Release plan
# description: >-
#   What may leave: what was asked, cut down to the least-necessary profile, type by type. Within one type all entries are taken together.
#   An empty list restricts nothing, so a type whose intersection is empty is left out, never emptied.
#   Elements are one string, windows are named once, and a type that leaves as the profile has it is its row as one text (`whole`), since the
#   embedded engine pays for each node of its answer.
package broker.release.plan

import data.broker.lib.asked
import data.broker.lib.facts

# METADATA
# title: What may leave of each type, as far as the caller's scopes let it read; in an assessment nobody calls
types := wanted if input.facts.question == "assess"

types := wanted if {
	input.facts.question == "release"
	"*" in input.facts.caller.types
}

types := object.filter(wanted, input.facts.caller.types) if {
	input.facts.question == "release"
	every_type := "*" in input.facts.caller.types
	every_type == false
}

# METADATA
# title: What may leave of the types that this call wants; it may leave them unsaid
wanted := timely if count(input.facts.wanted_types) == 0

wanted := object.filter(timely, input.facts.wanted_types) if count(input.facts.wanted_types) > 0

# METADATA
# title: What may leave of the types that lie in an open window
timely := approved if count(closed) == 0

timely := object.remove(approved, late) if count(closed) > 0

# METADATA
# title: Types that lie in a closed window
late := [type |
	some type in object.keys(approved)
	facts.profile.types[type].window in closed
]

# METADATA
# title: What may leave of every type asked
approved := entire if count(narrowed) == 0

approved := object.union(entire, narrowed) if count(narrowed) > 0

# METADATA
# title: Types that leave as the profile has them; an entry that names a type takes the place of the classes
entire := object.filter(facts.profile.whole, asked.whole) if count(asked.named) == 0

entire := object.remove(object.filter(facts.profile.whole, asked.whole), asked.named) if count(asked.named) > 0

# METADATA
# title: Types of which the classes bring certain categories, where the profile names none
narrowed[type] := narrow if {
	some part in asked.parts
	part.categories
	type := part.type
	profiled := facts.profile.types[type]
	count(profiled.categories) == 0
	wished := [category |
		some other in asked.parts
		other.type == type
		some category in other.categories
	]
	narrow := object.union(profiled, {"categories": wished})
}

# METADATA
# title: Types of which the classes bring certain categories, and the profile has only certain ones
narrowed[type] := narrow if {
	some part in asked.parts
	part.categories
	type := part.type
	profiled := facts.profile.types[type]
	count(profiled.categories) > 0
	both := [category |
		some other in asked.parts
		other.type == type
		some category in other.categories
		category in profiled.categories
	]
	count(both) > 0
	narrow := object.union(profiled, {"categories": both})
}

# METADATA
# title: Types of which the classes bring certain elements
narrowed[type] := narrow if {
	some part in asked.parts
	type := part.type
	part.elements
	narrow := object.union(facts.profile.types[type], {"elements": elements[type]})
}

# METADATA
# title: Types that an entry names
narrowed[type] := narrow if {
	some type in asked.named
	narrow := object.union(facts.profile.types[type], {"elements": elements[type], "codes": codes[type]})
}

# METADATA
# title: The codes that the entries ask of a type
wished_codes[type] := wished if {
	some type in asked.named
	wished := [code |
		some entry in asked.entries
		entry.resource_type == type
		some code in entry.codes
	]
}

# METADATA
# title: Types of which an entry asks every code
any_code := [type |
	some entry in asked.entries
	count(object.get(entry, "codes", [])) == 0
	type := entry.resource_type
]

# METADATA
# title: The profile's codes, where an entry asks every code
codes[type] := chosen if {
	some type in any_code
	chosen := facts.profile.types[type].codes
}

# METADATA
# title: The codes asked, where every entry names some and the profile names none
codes[type] := chosen if {
	some type in asked.named
	every_code := type in any_code
	every_code == false
	count(facts.profile.types[type].codes) == 0
	chosen := wished_codes[type]
}

# METADATA
# title: The codes asked that the profile names
codes[type] := chosen if {
	some type in asked.named
	every_code := type in any_code
	every_code == false
	chosen := [code |
		some code in wished_codes[type]
		code in facts.profile.types[type].codes
	]
	count(chosen) > 0
}

# METADATA
# title: The elements that the entries ask of a type
wished_elements[type] := wished if {
	some type in asked.named
	wished := [element |
		some entry in asked.entries
		entry.resource_type == type
		some element in entry.elements
	]
}

# METADATA
# title: The elements that the classes bring of a type
wished_elements[type] := wished if {
	some part in asked.parts
	type := part.type
	part.elements
	wished := [element |
		some other in asked.parts
		other.type == type
		some element in other.elements
	]
}

# METADATA
# title: Types of which an entry asks every element
any_element := [type |
	some entry in asked.entries
	count(object.get(entry, "elements", [])) == 0
	type := entry.resource_type
]

# METADATA
# title: The profile's elements, where an entry asks every element
elements[type] := chosen if {
	some type in any_element
	chosen := facts.profile.types[type].elements
}

# METADATA
# title: The elements asked that the profile has, and those that the type cannot do without
elements[type] := chosen if {
	some type in object.keys(wished_elements)
	every_element := type in any_element
	every_element == false
	count(chosen_elements[type]) > 0
	chosen := concat(" ", array.concat(chosen_elements[type], [data.broker.types[type].always]))
}

# METADATA
# title: The elements asked that the profile has, the profile's parts of an element asked, and the parts asked of one of the profile's
chosen_elements[type] := chosen if {
	some type in object.keys(wished_elements)
	profiled := split(facts.profile.types[type].elements, " ")
	same := [wish |
		some wish in wished_elements[type]
		wish in profiled
	]
	others := [wish |
		some wish in wished_elements[type]
		listed := wish in profiled
		listed == false
	]
	parts := [element |
		count(others) > 0
		some element in profiled
		split(element, ".")[0] in others
	]
	deep_parts := [element |
		count(others) > 0
		some element in profiled
		names := split(element, ".")
		count(names) == 3
		concat(".", [names[0], names[1]]) in others
	]
	below := [wish |
		some wish in others
		split(wish, ".")[0] in profiled
		count(split(wish, " ")) == 1
	]
	chosen := array.concat(array.concat(same, parts), array.concat(deep_parts, below))
}

# METADATA
# title: Where the windows of time begin that the types refer to, and their common end; types without a clinical date lie in none
windows := {
	"standing": input.facts.request.period_from,
	"recent": recent,
	"latest": latest,
	"end": input.facts.request.period_until,
}

# METADATA
# title: The first second of this day in UTC; look-backs are whole days, so that a plan stays the same for a day
today := input.facts.at - (input.facts.at % 86400)

# METADATA
# title: The beginning of the profile's look-back, for what is needed of recent years and for what is needed of the latest time only
look_back := {
	"recent": today - (facts.profile.lookback_days.recent * 86400),
	"latest": today - (facts.profile.lookback_days.latest * 86400),
}

# METADATA
# title: The later of the asked beginning and the look-back
recent := look_back.recent if input.facts.request.period_from == null

recent := look_back.recent if {
	input.facts.request.period_from != null
	input.facts.request.period_from <= look_back.recent
}

recent := input.facts.request.period_from if {
	input.facts.request.period_from != null
	input.facts.request.period_from > look_back.recent
}

# METADATA
# title: The same for what is needed of the latest time only
latest := look_back.latest if input.facts.request.period_from == null

latest := look_back.latest if {
	input.facts.request.period_from != null
	input.facts.request.period_from <= look_back.latest
}

latest := input.facts.request.period_from if {
	input.facts.request.period_from != null
	input.facts.request.period_from > look_back.latest
}

# METADATA
# title: Windows that begin after the asked end, so that nothing lies in them
closed := [] if input.facts.request.period_until == null

closed := [name |
	some name in ["standing", "recent", "latest"]
	windows[name] != null
	windows[name] > input.facts.request.period_until
] if {
	input.facts.request.period_until != null
}

# METADATA
# title: Sensitive categories that this plan lifts; the rule sensitive has judged them, and here they are judged again
lifted := {category |
	some category in asked.lifts
	facts.lifting_grounds
	data.broker.sensitive.categories[category].data_class in facts.profile.may_lift
}

# METADATA
# title: Labels whose resources stay behind
denied_labels := data.broker.sensitive.deny if count(lifted) == 0

denied_labels := labels if {
	count(lifted) > 0
	count(data.broker.sensitive.deny) > 0
	lifted_labels := {label |
		some category in lifted
		some label in data.broker.sensitive.categories[category].labels
	}
	labels := [label |
		some label in data.broker.sensitive.deny
		free := label in lifted_labels
		free == false
	]
}

# METADATA
# title: The highest confidentiality that may leave
ceiling := facts.profile.ceiling if count(lifted) == 0

ceiling := facts.profile.lifted_ceiling if count(lifted) > 0

# METADATA
# title: What each resource needs of the patient's consents
# description: >-
#   `required`: a consent that permits it. `unless-refused`: that none denies it. `overridden`: nothing, since the law that makes the basis
#   overrides a refusal. Whoever applies the plan asks the patient's consents about each resource by this word.
consent := "required" if asks_consent == true

consent := "required" if {
	asks_consent == false
	facts.basis.overrides_refusal == false
	carried := facts.purpose.judged_as in facts.implied_purposes
	carried == false
}

consent := "unless-refused" if {
	asks_consent == false
	facts.basis.overrides_refusal == false
	facts.purpose.judged_as in facts.implied_purposes
}

consent := "overridden" if {
	asks_consent == false
	facts.basis.overrides_refusal == true
}

# METADATA
# title: Whether the basis needs a consent for this recipient
asks_consent := facts.basis.consent_required[input.facts.recipient.relationship]

# METADATA
# title: What the recipient must do, with the days after which the data are deleted
obligations := array.concat(facts.profile.obligations, [{"code": "DELAU", "days": retention_days}]) if facts.child == false

obligations := array.concat(array.concat(facts.profile.obligations, for_a_child), [{"code": "DELAU", "days": retention_days}]) if {
	facts.child
	count(data.broker.minors.obligations) >= 0
}

# METADATA
# title: What a recipient of a child's data must do beyond the profile
for_a_child := [obligation |
	some obligation in data.broker.minors.obligations
	known := obligation in facts.profile.obligations
	known == false
]

# METADATA
# title: Days that the recipient may keep the data; a child's no longer than the special rules say
retention_days := agreed_days if facts.child == false

retention_days := agreed_days if {
	facts.child
	agreed_days <= data.broker.minors.retention_days
}

retention_days := data.broker.minors.retention_days if {
	facts.child
	agreed_days > data.broker.minors.retention_days
}

# METADATA
# title: Days that were agreed, or else those of the profile or of what is lifted
agreed_days := facts.profile.limits.retention_days if {
	input.facts.request.retention_days == null
	count(shorter) == 0
}

agreed_days := days if {
	input.facts.request.retention_days == null
	count(shorter) > 0
	some days in shorter
	longer := [other |
		some other in shorter
		other < days
	]
	count(longer) == 0
}

agreed_days := input.facts.request.retention_days if input.facts.request.retention_days != null

# METADATA
# title: How long what is lifted may be kept, where that is shorter than the profile says
shorter := {days |
	some category in lifted
	days := data.broker.sensitive.categories[category].pack.retention_days
	days < facts.profile.limits.retention_days
}

# METADATA
# title: How many releases the grant allows, or else the profile; null for any number
releases := facts.profile.limits.releases if input.facts.grant.releases_limit == null

releases := input.facts.grant.releases_limit if {
	input.facts.grant.releases_limit != null
	facts.profile.limits.releases == null
}

releases := input.facts.grant.releases_limit if {
	input.facts.grant.releases_limit != null
	facts.profile.limits.releases != null
	input.facts.grant.releases_limit <= facts.profile.limits.releases
}

releases := facts.profile.limits.releases if {
	input.facts.grant.releases_limit != null
	facts.profile.limits.releases != null
	input.facts.grant.releases_limit > facts.profile.limits.releases
}

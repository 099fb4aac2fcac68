# METADATA
# title: Asked
# description: >-
#   What an application asks. An entry names a data class or a resource type. An entry that names a type says exactly what of that type is
#   wanted; data classes then bring that type no more. Lists may repeat a name.
package broker.lib.asked

# METADATA
# title: The data classes named
classes := [class |
	some entry in input.facts.request.data
	class := entry.data_class
]

# METADATA
# title: Their rows; a class that is not in the catalogue has none
rows := [row |
	some class in classes
	row := data.broker.data_classes[class]
]

# METADATA
# title: Entries that name a resource type
entries := [entry |
	some entry in input.facts.request.data
	entry.resource_type
]

# METADATA
# title: Resource types named outright; a set, since many entries may name one type
named := {type |
	some entry in entries
	type := entry.resource_type
}

# METADATA
# title: Types that a class brings whole
whole := [type |
	some row in rows
	some type in row.types
]

# METADATA
# title: Parts of types that a class brings, of types that no class brings whole and no entry names
parts := [part |
	some row in rows
	some part in row.parts
	by_name := part.type in named
	by_name == false
	entirely := part.type in whole
	entirely == false
]

# METADATA
# title: What the rows say of lifting, a category or null; a row that does not say it is one too few
told := [category |
	some row in rows
	category := row.lifts
]

# METADATA
# title: Sensitive categories whose default denial the application asks to lift
lifts := {category |
	some row in rows
	category := row.lifts
	category != null
}

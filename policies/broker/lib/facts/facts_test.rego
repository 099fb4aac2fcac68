package broker.lib.facts_test

import data.broker.lib.examples_test as examples
import data.broker.lib.facts

test_the_short_names_are_the_parts_of_the_input if {
	given := examples.release({})
	names := {"question", "at", "request", "grant", "caller", "recipient", "patient", "consent", "workforce", "residency"}
	said := facts with input as given
	every name in names {
		said[name] == given.facts[name]
	}
}

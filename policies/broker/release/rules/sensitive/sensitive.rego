# METADATA
# title: Sensitive categories
# description: >-
#   HIV, mental health, substance use, sexual and reproductive health, genetics and violence stay behind by default. An application may ask
#   for one by its class where the profile allows it and the patient consents, or a law overrides a refusal.
# custom:
#   law: PIPL 28-29; 艾滋病防治条例 39(2); 精神卫生法 4, 23
package broker.release.rules.sensitive

import data.broker.lib.asked
import data.broker.lib.facts

default satisfied := false

# METADATA
# title: Nothing sensitive is asked
satisfied if {
	count(facts.request.data) > 0
	count(asked.lifts) == 0
}

# METADATA
# title: What is asked may be lifted, and there are grounds for it
satisfied if {
	count(asked.lifts) > 0
	count(facts.profile.may_lift) > 0
	count(beyond_profile) == 0
	facts.lifting_grounds
}

# METADATA
# title: Sensitive classes asked that the profile keeps back
beyond_profile := {class |
	some category in asked.lifts
	class := data.broker.sensitive.categories[category].data_class
	may_lift := class in facts.profile.may_lift
	may_lift == false
}

# METADATA
# title: The purpose does not need the sensitive class that is asked
# custom:
#   code: sensitive.not-necessary
deny contains "sensitive.not-necessary" if count(beyond_profile) > 0

# METADATA
# title: A sensitive class needs the patient's consent, or a law that overrides a refusal
# custom:
#   code: sensitive.consent-required
deny contains "sensitive.consent-required" if {
	count(asked.lifts) > 0
	facts.lifting_grounds == false
}

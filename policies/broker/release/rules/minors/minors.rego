# METADATA
# title: Minors
# description: >-
#   Where the release of a child's data rests on a consent, a parent or guardian gave it, separately; under 14 whatever is known of somebody is
#   sensitive. A patient whose age nobody knows counts as a child. With the fourteenth birthday a guardian's consent ends, unless the patient
#   has no capacity: the young person is asked. Where the law lets data go without consent, as to save a life, so it does for a child. What the
#   recipient of a child's data must do besides, and for how long they may keep them, stands in data/minors.json.
# custom:
#   law: PIPL 13(1)(4), 28, 29, 31; 民法典 19, 27, 28
package broker.release.rules.minors

import data.broker.lib.asked
import data.broker.lib.facts

default satisfied := false

# METADATA
# title: Nothing rests on a consent
satisfied if {
	age_told
	facts.basis.consent_required[input.facts.recipient.relationship] == false
	lifted_by_consent == false
}

# METADATA
# title: The patient is 14 or older, and answered for themselves
satisfied if {
	age_told
	facts.child == false
	count(ended) == 0
}

# METADATA
# title: A parent or guardian agreed for the child, separately
satisfied if {
	age_told
	facts.child
	by_guardian
	"sensitive" in input.facts.consent.separate
}

default age_told := false

# METADATA
# title: The class of age was told, were it as not known; a fact that is missing is no such word
age_told if input.facts.patient.age in {"14_to_17", "adult", "under_14", "unknown"}

default lifted_by_consent := true

# METADATA
# title: A sensitive class that is asked would go on the patient's word
lifted_by_consent := false if {
	count(input.facts.request.data) > 0
	count(asked.lifts) == 0
}

lifted_by_consent := false if facts.basis.overrides_refusal == true

default rests := false

# METADATA
# title: The release rests on a consent, in whole or for a sensitive class
rests if facts.basis.consent_required[input.facts.recipient.relationship] == true

rests if {
	facts.basis.overrides_refusal == false
	count(asked.lifts) > 0
}

default by_guardian := false

# METADATA
# title: Each consent that permits something was given by a parent or guardian, alone or with the patient
by_guardian if {
	count(input.facts.consent.givers) > 0
	count(others) == 0
}

# METADATA
# title: Givers who can't answer for a child
others := [giver |
	some giver in input.facts.consent.givers
	answers := giver in {"both", "guardian", "guardian-no-capacity"}
	answers == false
]

# METADATA
# title: Consents that a guardian gave for a child alone
ended := [giver |
	some giver in input.facts.consent.givers
	giver == "guardian"
]

# METADATA
# title: A child's data need the consent of a parent or guardian
# custom:
#   code: minors.guardian-needed
deny contains "minors.guardian-needed" if {
	input.facts.patient.age == "under_14"
	rests
	by_guardian == false
}

# METADATA
# title: The patient's age is not known, and no guardian agreed
# custom:
#   code: minors.age-unknown
deny contains "minors.age-unknown" if {
	input.facts.patient.age == "unknown"
	rests
	by_guardian == false
}

# METADATA
# title: The guardian's consent is not a separate one
# custom:
#   code: minors.not-separate
deny contains "minors.not-separate" if {
	facts.child
	rests
	by_guardian
	separately := "sensitive" in input.facts.consent.separate
	separately == false
}

# METADATA
# title: The patient has turned 14, which ended the guardian's consent
# custom:
#   code: minors.came-of-age
deny contains "minors.came-of-age" if {
	facts.child == false
	rests
	count(ended) > 0
}

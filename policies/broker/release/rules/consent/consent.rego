# METADATA
# title: Consent
# description: >-
#   Where the basis needs consent, one in force must permit this use. Where it needs none and no consent speaks, the policy that is
#   implied for the recipient must carry the purpose (data/implied_consent.json): some may be opted out of, others must be opted in to.
#   A refusal binds whatever the basis, unless the law that makes the basis overrides it; so does a consent that could not be understood.
# custom:
#   law: PIPL 13-15, 23, 29; IHE PCF 53.2.1
package broker.release.rules.consent

import data.broker.lib.facts

default satisfied := false

# METADATA
# title: The patient permits this use
satisfied if {
	input.facts.consent.base == "permit"
	unrefused
	current
}

# METADATA
# title: The basis needs no consent, none refuses, and the policy implied for the recipient carries the purpose
satisfied if {
	facts.basis.consent_required[input.facts.recipient.relationship] == false
	input.facts.consent.base == "silent"
	facts.purpose.judged_as in facts.implied_purposes
	unrefused
	current
}

# METADATA
# title: The law overrides a refusal
satisfied if {
	facts.basis.overrides_refusal == true
	facts.basis.consent_required[input.facts.recipient.relationship] == false
	input.facts.consent.base in {"permit", "deny", "silent"}
	current
}

default unrefused := false

# METADATA
# title: No refusal covers this use, and every consent that speaks was understood
unrefused if {
	input.facts.consent.refused == false
	input.facts.consent.unenforceable == false
}

default current := false

# METADATA
# title: The registry's answer still holds at this moment
current if input.facts.consent.valid_until == null

current if input.facts.at <= input.facts.consent.valid_until

# METADATA
# title: No consent in force covers this use
# custom:
#   code: consent.missing
deny contains "consent.missing" if {
	facts.basis.consent_required[input.facts.recipient.relationship] == true
	input.facts.consent.base == "silent"
}

# METADATA
# title: The basis needs no consent, but what is implied for this recipient is to ask first
# custom:
#   code: consent.opt-in
deny contains "consent.opt-in" if {
	facts.basis.consent_required[input.facts.recipient.relationship] == false
	facts.basis.overrides_refusal == false
	input.facts.consent.base == "silent"
	carried := facts.purpose.judged_as in facts.implied_purposes
	carried == false
}

# METADATA
# title: The consent in force denies this use
# custom:
#   code: consent.denied
deny contains "consent.denied" if {
	facts.basis.overrides_refusal == false
	input.facts.consent.base == "deny"
}

# METADATA
# title: The patient refused this use
# custom:
#   code: consent.refused
deny contains "consent.refused" if {
	facts.basis.overrides_refusal == false
	input.facts.consent.refused == true
}

# METADATA
# title: A consent that speaks to this use cannot be enforced
# custom:
#   code: consent.unenforceable
deny contains "consent.unenforceable" if {
	facts.basis.overrides_refusal == false
	input.facts.consent.unenforceable == true
}

# METADATA
# title: The registry's answer is out of date
# custom:
#   code: consent.out-of-date
deny contains "consent.out-of-date" if {
	input.facts.consent.valid_until != null
	input.facts.consent.valid_until < input.facts.at
}

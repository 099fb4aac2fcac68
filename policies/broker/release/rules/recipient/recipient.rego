# METADATA
# title: Recipient
# description: >-
#   Who will hold the data is active, bound by an agreement where it is another institution, and the one that calls.
#   The person who applied still works here.
# custom:
#   law: PIPL 21, 23; 网络数据安全管理条例 12
package broker.release.rules.recipient

default satisfied := false

# METADATA
# title: A part of this hospital
satisfied if {
	input.facts.recipient.relationship == "internal"
	sound
	calls_itself
}

# METADATA
# title: Another institution, under an agreement in force
satisfied if {
	input.facts.recipient.relationship == "external"
	input.facts.recipient.agreement_until != null
	input.facts.at <= input.facts.recipient.agreement_until
	key_where_needed
	sound
	calls_itself
}

default sound := false

# METADATA
# title: Recipient and requester are active
sound if {
	input.facts.recipient.status == "active"
	input.facts.requester.active == true
}

default key_where_needed := false

# METADATA
# title: A key is registered before anything is released; an assessment does not wait for it
key_where_needed if input.facts.question == "assess"

key_where_needed if input.facts.recipient.key_registered == true

default calls_itself := false

# METADATA
# title: The caller belongs to the recipient; in an assessment nobody calls
calls_itself if input.facts.question == "assess"

calls_itself if input.facts.caller.organization == input.facts.recipient.id

# METADATA
# title: The recipient is suspended
# custom:
#   code: recipient.suspended
deny contains "recipient.suspended" if input.facts.recipient.status != "active"

# METADATA
# title: There is no data-sharing agreement with the recipient
# custom:
#   code: recipient.no-agreement
deny contains "recipient.no-agreement" if {
	input.facts.recipient.relationship == "external"
	input.facts.recipient.agreement_until == null
}

# METADATA
# title: The data-sharing agreement is over
# custom:
#   code: recipient.agreement-over
deny contains "recipient.agreement-over" if {
	input.facts.recipient.relationship == "external"
	input.facts.recipient.agreement_until != null
	input.facts.recipient.agreement_until < input.facts.at
}

# METADATA
# title: The recipient has registered no key
# custom:
#   code: recipient.no-key
deny contains "recipient.no-key" if {
	input.facts.question == "release"
	input.facts.recipient.relationship == "external"
	input.facts.recipient.key_registered == false
}

# METADATA
# title: The caller is not the recipient
# custom:
#   code: recipient.other-caller
deny contains "recipient.other-caller" if {
	input.facts.question == "release"
	input.facts.caller.organization != input.facts.recipient.id
}

# METADATA
# title: The person who applied is no longer active
# custom:
#   code: recipient.requester-inactive
deny contains "recipient.requester-inactive" if input.facts.requester.active == false

# METADATA
# title: Facts
# description: >-
#   Short names for the parts of the input, and for the rows of the tables that the request names. The rules that ship read the parts as
#   `input.facts`, since OPA finds the bodies that can hold by an index over plain references to the input and passes by the others.
package broker.lib.facts

# METADATA
# title: Assess before approval, release afterwards
question := input.facts.question

# METADATA
# title: Now, in epoch seconds
at := input.facts.at

# METADATA
# title: What is asked
request := input.facts.request

# METADATA
# title: The agreed terms
grant := input.facts.grant

# METADATA
# title: The client that calls; null in an assessment
caller := input.facts.caller

# METADATA
# title: Who will hold the data
recipient := input.facts.recipient

# METADATA
# title: About whom
patient := input.facts.patient

# METADATA
# title: What the consents in force say
consent := input.facts.consent

# METADATA
# title: What the registers say of licences, scope and training; null where none was asked
workforce := input.facts.workforce

# METADATA
# title: What was shown for a transfer abroad; null where nothing was
residency := input.facts.residency

default child := true

# METADATA
# title: Whether the patient counts as a child under 14, as does one whose age nobody knows
child := false if input.facts.patient.age in {"14_to_17", "adult"}

# METADATA
# title: The row of the purpose; undefined for an unknown one
purpose := data.broker.purposes[input.facts.request.purpose]

# METADATA
# title: The row of the lawful basis; undefined for an unknown one
basis := data.broker.lawful_bases[input.facts.request.lawful_basis]

# METADATA
# title: The name of the policy that holds for this recipient where no consent speaks; by its id, else its kind, else its relationship
implied_id := object.get(
	data.broker.implied_consent.organizations,
	input.facts.recipient.id,
	object.get(
		data.broker.implied_consent.kinds,
		input.facts.recipient.kind,
		data.broker.implied_consent.relationships[input.facts.recipient.relationship],
	),
)

# METADATA
# title: The purposes that this policy lets go without a consent
implied_purposes := data.broker.implied_consent.policies[implied_id].purposes

# METADATA
# title: The name of the least-necessary profile that applies; undefined where there is none, and then nothing leaves
profile_id := data.broker.profile_index[purpose.judged_as][input.facts.recipient.kind][input.facts.recipient.relationship]

# METADATA
# title: The least-necessary profile
profile := data.broker.profiles[profile_id]

default lifting_grounds := false

# METADATA
# title: The patient's consent is a ground to ask for a sensitive class
lifting_grounds if input.facts.consent.base == "permit"

# METADATA
# title: A law that overrides a refusal is one, too, such as the duty to report
lifting_grounds if basis.overrides_refusal == true

default has_profile := false

# METADATA
# title: Whether a profile applies
has_profile if profile_id

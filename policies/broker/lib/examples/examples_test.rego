# METADATA
# title: Examples
# description: A plain good case of each kind, and how to change one, for the tests beside the rules.
package broker.lib.examples_test

now := 1795420800

day := 86400

release_facts := {
	"question": "release",
	"at": now,
	"request": {
		"purpose": "TREAT",
		"lawful_basis": "consent",
		"data": [{"data_class": "clinical.laboratory"}, {"data_class": "clinical.diagnoses"}],
		"period_from": null,
		"period_until": null,
		"channel": "api",
		"urgency": "routine",
		"emergency": false,
		"retention_days": 30,
		"justification": true,
	},
	"grant": {
		"id": "grant-1",
		"application": "SA-2026-000001",
		"status": "active",
		"valid_from": now - (10 * day),
		"valid_until": now + (10 * day),
		"releases_used": 0,
		"releases_limit": null,
		"approved_by": 2,
	},
	"recipient": {
		"id": "shengli",
		"kind": "hospital",
		"relationship": "external",
		"status": "active",
		"jurisdiction": "CN",
		"agreement_until": now + (300 * day),
		"key_registered": true,
	},
	"requester": {"id": "person-1", "roles": ["applicant"], "active": true},
	"patient": {"key": "ab12", "match": "certain", "in_grant": true, "age": "adult"},
	"consent": {
		"base": "permit",
		"refused": false,
		"unenforceable": false,
		"epoch": 1,
		"consents": ["Consent/1"],
		"valid_until": null,
		"givers": ["patient"],
		"separate": ["other-processor", "sensitive"],
	},
	"caller": {
		"client": "shengli-emr",
		"organization": "shengli",
		"status": "active",
		"token_grant": "grant-1",
		"token_purpose": "TREAT",
		"types": ["*"],
	},
	"wanted_types": [],
	"workforce": null,
	"residency": null,
}

# A referral hospital fetches, with changes {"path": value}.
release(changes) := {"facts": changed(release_facts, changes), "input_hash": "h"}

# The same before approval.
assess(changes) := {"facts": changed(assess_facts, changes), "input_hash": "h"}

assess_facts := changed(release_facts, {
	"/question": "assess",
	"/caller": null,
	"/grant/status": "proposed",
	"/grant/approved_by": 0,
	"/patient/in_grant": false,
})

# Break-glass.
emergency(changes) := {"facts": changed(emergency_facts, changes), "input_hash": "h"}

emergency_facts := changed(release_facts, {
	"/request/purpose": "BTG",
	"/request/lawful_basis": "vital_interests",
	"/request/urgency": "emergency",
	"/request/emergency": true,
	"/consent/base": "silent",
	"/caller/token_purpose": "BTG",
	"/grant/approved_by": 0,
	"/grant/valid_from": now - 60,
	"/grant/valid_until": now + 10800,
})

changed(facts, changes) := json.patch(facts, [patch |
	some path, value in changes
	patch := {"op": "replace", "path": path, "value": value}
])

"""The data-sharing broker and consent registry.

In goes an application: who wants which data about whom, for what purpose, on what lawful basis, until when. Policy
(OPA, Rego) and the patient's consents say what may leave at most; a person, the information manager, says whether it
shall. Out comes a FHIR R4 bundle that holds that and nothing else, logged before it leaves, followed up by feedback.

One folder for each thing the hospital talks about; look down only (``pyproject.toml`` holds the order):

``review`` · ``feedback`` · ``release`` · ``consent`` ``applications`` · ``records`` · ``identity`` · ``policy``
``fhir`` ``audit`` · ``database`` ``errors`` ``clock`` ``crypto`` · ``settings``
"""

__version__ = "0.1.0"

"""The pages: the same verbs as the API, for people. Server-rendered, without a build step, and whole without JavaScript."""

"""Other projects' formats: importing their models, exporting ours."""

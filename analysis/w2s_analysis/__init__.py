"""Tables, figures and findings, from what a store holds. Heavy libraries are imported where they are used."""

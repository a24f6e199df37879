"""Attacks that brokers have fallen to, each with a test that Bellbird withstands it: see README.md."""

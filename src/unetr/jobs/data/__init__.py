"""Datasets measured and planned for, and recipes that begin with one."""

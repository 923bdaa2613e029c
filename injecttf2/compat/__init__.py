"""The class and the configuration file of the original InjectTF2."""

// applets/config/placeholder.cpp — keeps the library mirrord_config linkable until the folder's first source replaces it.

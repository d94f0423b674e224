// net/placeholder.cpp — keeps the library mirrord_net linkable until the folder's first source replaces it.

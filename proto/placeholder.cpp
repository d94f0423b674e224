// proto/placeholder.cpp — keeps the library mirrord_proto linkable until the folder's first source replaces it.

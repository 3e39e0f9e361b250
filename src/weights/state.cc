#include "spatialmamba/weights.h"

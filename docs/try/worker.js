// One program for both workers; the page gives each its name.

import { listenForAssets } from "./assets.js";
import { startNetworks } from "./networks.js";
import { startPixels } from "./pixels.js";

listenForAssets();
if (self.name === "networks") startNetworks();
else startPixels();

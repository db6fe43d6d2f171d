/** niivue, with a scan that can be clearer in 3D than in the planes, so that the labels within it are seen. */

import { Niivue } from "../../vendor/niivue.js";

export class Scene extends Niivue {
  /** Of the scan in 3D, while labels are over it. */
  clarity = 0.25;

  draw3D(...given) {
    const scan = this.volumes[0];
    if (!scan || !this.drawBitmap || !this.renderShader) return super.draw3D(...given);
    this.renderShader.use(this.gl);
    this.gl.uniform1f(this.renderShader.uniforms.backOpacity, this.clarity);
    return super.draw3D(...given);
  }
}
